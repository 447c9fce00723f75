package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

const (
	orderQueue    = "layered"
	failsPriority = 2
	// refusedPriority is of the job whose attempt a hook refuses.
	refusedPriority = 3
)

// calls is what the extensions of this process were called for: those of an args type know of no client that it could be in.
var calls notes

type notes struct {
	mu    sync.Mutex
	lines []string
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

func (n *notes) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	lines := n.lines
	n.lines = nil
	return lines
}

// layer notes each call. It could be anything, so that the list that it stands in says what it is called for.
type layer struct{ name string }

func (layer) IsHook() bool       { return true }
func (layer) IsMiddleware() bool { return true }
func (layer) IsPlugin() bool     { return true }

func (l layer) InsertBegin(context.Context, *rivertype.JobInsertParams) error {
	calls.add("%s: insert_begin", l.name)
	return nil
}

func (l layer) InsertMany(
	ctx context.Context, params []*rivertype.JobInsertParams, doInner func(context.Context) ([]*rivertype.JobInsertResult, error),
) ([]*rivertype.JobInsertResult, error) {
	calls.add("%s: insert_many %d", l.name, len(params))
	results, err := doInner(ctx)
	calls.add("%s: inserted %d", l.name, len(results))
	return results, err
}

func (l layer) WorkBegin(_ context.Context, job *rivertype.JobRow) error {
	calls.add("%s: work_begin", l.name)
	if l.name == "hook 2" && job.Priority == refusedPriority {
		return errors.New("refused")
	}
	return nil
}

func (l layer) WorkEnd(_ context.Context, _ *rivertype.JobRow, err error) error {
	calls.add("%s: work_end %s", l.name, textOf(err))
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w, %s", err, l.name)
}

func (l layer) Work(ctx context.Context, _ *rivertype.JobRow, doInner func(context.Context) error) error {
	calls.add("%s: work", l.name)
	err := doInner(ctx)
	calls.add("%s: worked %s", l.name, textOf(err))
	return err
}

func textOf(err error) string {
	if err == nil {
		return "well"
	}
	return err.Error()
}

type layeredArgs struct{}

func (layeredArgs) Kind() string                { return "layered" }
func (layeredArgs) Hooks() []rivertype.Hook     { return []rivertype.Hook{layer{"hook of args"}} }
func (layeredArgs) Plugins() []rivertype.Plugin { return []rivertype.Plugin{layer{"plugin of args"}} }

type layeredWorker struct {
	river.WorkerDefaults[layeredArgs]
}

func (*layeredWorker) Middleware(*rivertype.JobRow) []rivertype.WorkerMiddleware {
	return []rivertype.WorkerMiddleware{layer{"worker's 1"}, layer{"worker's 2"}}
}

func (*layeredWorker) Work(_ context.Context, job *river.Job[layeredArgs]) error {
	calls.add("worker")
	if job.Priority == failsPriority {
		return errors.New("failed")
	}
	return nil
}

// order inserts three jobs at once and works them one after the other; says what was called around that, and each job's error.
func (p *peer) order(ctx context.Context, _ none) (any, error) {
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, &layeredWorker{}); err != nil {
		return nil, err
	}
	client, err := river.NewClient(riverpgxv5.New(p.pool), &river.Config{
		Hooks:                  []rivertype.Hook{layer{"hook 1"}, layer{"hook 2"}},
		LeaderElectionDisabled: true,
		Logger:                 quiet(),
		Middleware:             []rivertype.Middleware{layer{"middleware 1"}, layer{"middleware 2"}},
		Plugins:                []rivertype.Plugin{layer{"plugin 1"}, layer{"plugin 2"}},
		Queues:                 map[string]river.QueueConfig{orderQueue: {MaxWorkers: 1}},
		Workers:                workers,
	})
	if err != nil {
		return nil, err
	}
	var jobs []river.InsertManyParams
	for priority := 1; priority <= refusedPriority; priority++ {
		opts := &river.InsertOpts{MaxAttempts: 1, Priority: priority, Queue: orderQueue}
		jobs = append(jobs, river.InsertManyParams{Args: layeredArgs{}, InsertOpts: opts})
	}
	calls.take()
	if _, err := client.InsertMany(ctx, jobs); err != nil {
		return nil, err
	}
	events, unsubscribe := client.Subscribe(river.EventKindJobCompleted, river.EventKindJobFailed)
	defer unsubscribe()
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return nil, err
	}
	found := []string{}
	for range jobs {
		event := <-events
		for _, failed := range event.Job.Errors {
			found = append(found, failed.Error)
		}
	}
	if err := client.Stop(ctx); err != nil {
		return nil, err
	}
	return map[string][]string{"calls": calls.take(), "errors": found}, nil
}
