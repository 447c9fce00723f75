package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

type queueParams struct {
	Action   string          `json:"action"`
	Metadata json.RawMessage `json:"metadata"`
	Name     string          `json:"name"`
	Schema   string          `json:"schema"`
	TX       string          `json:"tx"`
}

func (p *peer) queue(ctx context.Context, params queueParams) (any, error) {
	client, tx, err := p.on(params.Schema, params.TX)
	if err != nil {
		return nil, err
	}
	switch params.Action {
	case "pause":
		if tx == nil {
			return none{}, client.QueuePause(ctx, params.Name, nil)
		}
		return none{}, client.QueuePauseTx(ctx, tx, params.Name, nil)
	case "resume":
		if tx == nil {
			return none{}, client.QueueResume(ctx, params.Name, nil)
		}
		return none{}, client.QueueResumeTx(ctx, tx, params.Name, nil)
	case "update":
		update := &river.QueueUpdateParams{Metadata: params.Metadata}
		if tx == nil {
			_, err = client.QueueUpdate(ctx, params.Name, update)
		} else {
			_, err = client.QueueUpdateTx(ctx, tx, params.Name, update)
		}
		return none{}, err
	}
	return nil, fail(codeParams, "unknown action %q", params.Action)
}

type queueRow struct {
	CreatedAt time.Time       `json:"created_at"`
	Metadata  json.RawMessage `json:"metadata"`
	Name      string          `json:"name"`
	PausedAt  *time.Time      `json:"paused_at"`
	UpdatedAt time.Time       `json:"updated_at"`
}

func toQueue(queue *rivertype.Queue) queueRow {
	return queueRow{queue.CreatedAt.UTC(), queue.Metadata, queue.Name, inUTC(queue.PausedAt), queue.UpdatedAt.UTC()}
}

func (p *peer) queueGet(ctx context.Context, params struct {
	Name   string `json:"name"`
	Schema string `json:"schema"`
}) (any, error) {
	client, err := p.client(params.Schema)
	if err != nil {
		return nil, err
	}
	queue, err := client.QueueGet(ctx, params.Name)
	if err != nil {
		return nil, err
	}
	return toQueue(queue), nil
}

func (p *peer) queueList(ctx context.Context, params struct {
	Limit  int    `json:"limit"`
	Schema string `json:"schema"`
}) (any, error) {
	client, err := p.client(params.Schema)
	if err != nil {
		return nil, err
	}
	list := river.NewQueueListParams()
	if params.Limit > 0 {
		list = list.First(params.Limit)
	}
	result, err := client.QueueList(ctx, list)
	if err != nil {
		return nil, err
	}
	rows := make([]queueRow, 0, len(result.Queues))
	for _, queue := range result.Queues {
		rows = append(rows, toQueue(queue))
	}
	return map[string]any{"queues": rows}, nil
}

// queueAdd makes the running client work one more queue.
func (p *peer) queueAdd(_ context.Context, params struct {
	MaxWorkers int    `json:"max_workers"`
	Name       string `json:"name"`
}) (any, error) {
	runner, err := p.running()
	if err != nil {
		return nil, err
	}
	return none{}, runner.client.Queues().Add(params.Name, river.QueueConfig{MaxWorkers: params.MaxWorkers})
}

// queueRemove makes the running client leave a queue.
func (p *peer) queueRemove(ctx context.Context, params struct {
	Name string `json:"name"`
}) (any, error) {
	runner, err := p.running()
	if err != nil {
		return nil, err
	}
	return none{}, runner.client.Queues().Remove(ctx, params.Name)
}
