package main

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// on finds the client of a schema and the named transaction, which is nil without a name.
func (p *peer) on(schema, name string) (*river.Client[pgx.Tx], pgx.Tx, error) {
	client, err := p.client(schema)
	if err != nil {
		return nil, nil, err
	}
	tx, err := p.tx(name)
	return client, tx, err
}

type jobParams struct {
	ID     int64  `json:"id"`
	Schema string `json:"schema"`
	TX     string `json:"tx"`
}

// oneJob runs a call on one job, inside the named transaction or in one of its own.
func (p *peer) oneJob(
	params jobParams,
	alone func(client *river.Client[pgx.Tx]) (*rivertype.JobRow, error),
	within func(client *river.Client[pgx.Tx], tx pgx.Tx) (*rivertype.JobRow, error),
) (any, error) {
	client, tx, err := p.on(params.Schema, params.TX)
	if err != nil {
		return nil, err
	}
	if tx == nil {
		return jobOr(alone(client))
	}
	return jobOr(within(client, tx))
}

func (p *peer) cancel(ctx context.Context, params jobParams) (any, error) {
	return p.oneJob(params,
		func(c *river.Client[pgx.Tx]) (*rivertype.JobRow, error) { return c.JobCancel(ctx, params.ID) },
		func(c *river.Client[pgx.Tx], tx pgx.Tx) (*rivertype.JobRow, error) {
			return c.JobCancelTx(ctx, tx, params.ID)
		})
}

func (p *peer) retry(ctx context.Context, params jobParams) (any, error) {
	return p.oneJob(params,
		func(c *river.Client[pgx.Tx]) (*rivertype.JobRow, error) { return c.JobRetry(ctx, params.ID) },
		func(c *river.Client[pgx.Tx], tx pgx.Tx) (*rivertype.JobRow, error) {
			return c.JobRetryTx(ctx, tx, params.ID)
		})
}

func (p *peer) get(ctx context.Context, params jobParams) (any, error) {
	return p.oneJob(params,
		func(c *river.Client[pgx.Tx]) (*rivertype.JobRow, error) { return c.JobGet(ctx, params.ID) },
		func(c *river.Client[pgx.Tx], tx pgx.Tx) (*rivertype.JobRow, error) {
			return c.JobGetTx(ctx, tx, params.ID)
		})
}

func (p *peer) delete(ctx context.Context, params jobParams) (any, error) {
	return p.oneJob(params,
		func(c *river.Client[pgx.Tx]) (*rivertype.JobRow, error) { return c.JobDelete(ctx, params.ID) },
		func(c *river.Client[pgx.Tx], tx pgx.Tx) (*rivertype.JobRow, error) {
			return c.JobDeleteTx(ctx, tx, params.ID)
		})
}

func (p *peer) update(ctx context.Context, params struct {
	ID     int64           `json:"id"`
	Output json.RawMessage `json:"output"`
	Schema string          `json:"schema"`
}) (any, error) {
	client, err := p.client(params.Schema)
	if err != nil {
		return nil, err
	}
	return jobOr(client.JobUpdate(ctx, params.ID, &river.JobUpdateParams{Output: params.Output}))
}

func (p *peer) deleteMany(ctx context.Context, params struct {
	IDs    []int64              `json:"ids"`
	Kinds  []string             `json:"kinds"`
	Limit  int                  `json:"limit"`
	Queues []string             `json:"queues"`
	Schema string               `json:"schema"`
	States []rivertype.JobState `json:"states"`
}) (any, error) {
	client, err := p.client(params.Schema)
	if err != nil {
		return nil, err
	}
	filters := river.NewJobDeleteManyParams().IDs(params.IDs...).Kinds(params.Kinds...).
		Queues(params.Queues...).States(params.States...)
	if params.Limit > 0 {
		filters = filters.First(params.Limit)
	}
	result, err := client.JobDeleteMany(ctx, filters)
	if err != nil {
		return nil, err
	}
	return map[string]any{"jobs": toJobs(result.Jobs)}, nil
}

type listParams struct {
	After      string               `json:"after"`
	Direction  string               `json:"direction"`
	IDs        []int64              `json:"ids"`
	Kinds      []string             `json:"kinds"`
	Limit      int                  `json:"limit"`
	Metadata   json.RawMessage      `json:"metadata"`
	OrderBy    string               `json:"order_by"`
	Priorities []int16              `json:"priorities"`
	Queues     []string             `json:"queues"`
	Schema     string               `json:"schema"`
	States     []rivertype.JobState `json:"states"`
	TagsAll    []string             `json:"tags_all"`
	TX         string               `json:"tx"`
}

func (params listParams) toRiver() (*river.JobListParams, error) {
	list := river.NewJobListParams()
	if len(params.IDs) > 0 {
		list = list.IDs(params.IDs...)
	}
	if len(params.Kinds) > 0 {
		list = list.Kinds(params.Kinds...)
	}
	if len(params.Priorities) > 0 {
		list = list.Priorities(params.Priorities...)
	}
	if len(params.Queues) > 0 {
		list = list.Queues(params.Queues...)
	}
	if len(params.States) > 0 {
		list = list.States(params.States...)
	}
	if len(params.TagsAll) > 0 {
		list = list.TagsAll(params.TagsAll...)
	}
	if len(params.Metadata) > 0 {
		list = list.Metadata(string(params.Metadata))
	}
	if params.Limit > 0 {
		list = list.First(params.Limit)
	}
	order := river.SortOrderAsc
	switch params.Direction {
	case "", "asc":
	case "desc":
		order = river.SortOrderDesc
	default:
		return nil, fail(codeParams, "unknown direction %q", params.Direction)
	}
	if params.OrderBy != "" || params.Direction != "" {
		field := river.JobListOrderByField(params.OrderBy)
		if field == "" {
			field = river.JobListOrderByID
		}
		list = list.OrderBy(field, order)
	}
	if params.After != "" {
		var cursor river.JobListCursor
		if err := cursor.UnmarshalText([]byte(params.After)); err != nil {
			return nil, fail(codeParams, "invalid cursor: %s", err)
		}
		list = list.After(&cursor)
	}
	return list, nil
}

func (p *peer) list(ctx context.Context, params listParams) (any, error) {
	client, tx, err := p.on(params.Schema, params.TX)
	if err != nil {
		return nil, err
	}
	list, err := params.toRiver()
	if err != nil {
		return nil, err
	}
	var result *river.JobListResult
	if tx == nil {
		result, err = client.JobList(ctx, list)
	} else {
		result, err = client.JobListTx(ctx, tx, list)
	}
	if err != nil {
		return nil, err
	}
	var cursor *string
	if result.LastCursor != nil {
		text, err := result.LastCursor.MarshalText()
		if err != nil {
			return nil, err
		}
		cursor = new(string(text))
	}
	return map[string]any{"cursor": cursor, "jobs": toJobs(result.Jobs)}, nil
}

func (p *peer) requestResign(ctx context.Context, params struct {
	Schema string `json:"schema"`
	TX     string `json:"tx"`
}) (any, error) {
	client, tx, err := p.on(params.Schema, params.TX)
	if err != nil {
		return nil, err
	}
	if tx == nil {
		return none{}, client.Notify().RequestResign(ctx)
	}
	return none{}, client.Notify().RequestResignTx(ctx, tx)
}
