package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// insertJob is one job of `insert`; kind is beside the contract, which knows one kind only.
type insertJob struct {
	Behavior   string      `json:"behavior"`
	DurationMS int64       `json:"duration_ms"`
	Kind       string      `json:"kind"`
	Message    string      `json:"message"`
	Opts       *insertOpts `json:"opts"`
}

type insertOpts struct {
	MaxAttempts int             `json:"max_attempts"`
	Metadata    json.RawMessage `json:"metadata"`
	Pending     bool            `json:"pending"`
	Priority    int             `json:"priority"`
	Queue       string          `json:"queue"`
	ScheduledAt time.Time       `json:"scheduled_at"`
	Tags        []string        `json:"tags"`
	Unique      *uniqueOpts     `json:"unique"`
}

type uniqueOpts struct {
	ByArgs      bool                 `json:"by_args"`
	ByPeriodMS  int64                `json:"by_period_ms"`
	ByQueue     bool                 `json:"by_queue"`
	ByState     []rivertype.JobState `json:"by_state"`
	ExcludeKind bool                 `json:"exclude_kind"`
}

func (o *insertOpts) toRiver() *river.InsertOpts {
	if o == nil {
		return nil
	}
	return &river.InsertOpts{
		MaxAttempts: o.MaxAttempts,
		Metadata:    o.Metadata,
		Pending:     o.Pending,
		Priority:    o.Priority,
		Queue:       o.Queue,
		ScheduledAt: o.ScheduledAt,
		Tags:        o.Tags,
		UniqueOpts:  o.Unique.toRiver(),
	}
}

func (o *uniqueOpts) toRiver() river.UniqueOpts {
	if o == nil {
		return river.UniqueOpts{}
	}
	return river.UniqueOpts{
		ByArgs:      o.ByArgs,
		ByPeriod:    time.Duration(o.ByPeriodMS) * time.Millisecond,
		ByQueue:     o.ByQueue,
		ByState:     o.ByState,
		ExcludeKind: o.ExcludeKind,
	}
}

type insertParams struct {
	Jobs   []insertJob `json:"jobs"`
	Schema string      `json:"schema"`
	TX     string      `json:"tx"`
}

func (params insertParams) toRiver() []river.InsertManyParams {
	many := make([]river.InsertManyParams, 0, len(params.Jobs))
	for _, job := range params.Jobs {
		args := echoArgs{Behavior: job.Behavior, DurationMS: job.DurationMS, Message: job.Message, kind: job.Kind}
		many = append(many, river.InsertManyParams{Args: args, InsertOpts: job.Opts.toRiver()})
	}
	return many
}

type insertResult struct {
	Job     job  `json:"job"`
	Skipped bool `json:"unique_skipped_as_duplicate"`
}

func (p *peer) insert(ctx context.Context, params insertParams) (any, error) {
	client, tx, err := p.on(params.Schema, params.TX)
	if err != nil {
		return nil, err
	}
	var rows []*rivertype.JobInsertResult
	if tx == nil {
		rows, err = client.InsertMany(ctx, params.toRiver())
	} else {
		rows, err = client.InsertManyTx(ctx, tx, params.toRiver())
	}
	if err != nil {
		return nil, err
	}
	results := make([]insertResult, 0, len(rows))
	for _, row := range rows {
		results = append(results, insertResult{Job: toJob(row.Job), Skipped: row.UniqueSkippedAsDuplicate})
	}
	return map[string]any{"results": results}, nil
}

func (p *peer) insertFast(ctx context.Context, params insertParams) (any, error) {
	client, tx, err := p.on(params.Schema, params.TX)
	if err != nil {
		return nil, err
	}
	count := 0
	if tx == nil {
		count, err = client.InsertManyFast(ctx, params.toRiver())
	} else {
		count, err = client.InsertManyFastTx(ctx, tx, params.toRiver())
	}
	return map[string]int{"count": count}, err
}
