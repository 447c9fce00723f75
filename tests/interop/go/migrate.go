package main

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

func (p *peer) migrator(schema string) (*rivermigrate.Migrator[pgx.Tx], error) {
	return rivermigrate.New(riverpgxv5.New(p.pool), &rivermigrate.Config{Schema: schema, Logger: quiet()})
}

func (p *peer) migrate(ctx context.Context, params struct {
	Direction     string `json:"direction"`
	Schema        string `json:"schema"`
	TargetVersion int    `json:"target_version"`
}) (any, error) {
	direction := rivermigrate.Direction(params.Direction)
	switch direction {
	case "":
		direction = rivermigrate.DirectionUp
	case rivermigrate.DirectionUp, rivermigrate.DirectionDown:
	default:
		return nil, fail(codeParams, "unknown direction %q", params.Direction)
	}
	migrator, err := p.migrator(params.Schema)
	if err != nil {
		return nil, err
	}
	result, err := migrator.Migrate(ctx, direction, &rivermigrate.MigrateOpts{TargetVersion: params.TargetVersion})
	if err != nil {
		return nil, err
	}
	versions := make([]int, 0, len(result.Versions))
	for _, version := range result.Versions {
		versions = append(versions, version.Version)
	}
	return map[string]any{"versions": versions}, nil
}

type schemaParams struct {
	Schema string `json:"schema"`
}

func (p *peer) existingVersions(ctx context.Context, params schemaParams) (any, error) {
	migrator, err := p.migrator(params.Schema)
	if err != nil {
		return nil, err
	}
	existing, err := migrator.ExistingVersions(ctx)
	if err != nil {
		return nil, err
	}
	versions := make([]int, 0, len(existing))
	for _, migration := range existing {
		versions = append(versions, migration.Version)
	}
	return map[string]any{"versions": versions}, nil
}

func (p *peer) validate(ctx context.Context, params schemaParams) (any, error) {
	migrator, err := p.migrator(params.Schema)
	if err != nil {
		return nil, err
	}
	result, err := migrator.Validate(ctx, nil)
	if err != nil {
		return nil, err
	}
	return map[string]any{"ok": result.OK, "messages": orEmpty(result.Messages)}, nil
}
