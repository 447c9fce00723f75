package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/tidwall/gjson"
)

// echoArgs are the args of every kind that this program works; Behavior says what the worker does.
type echoArgs struct {
	Behavior   string `json:"behavior"`
	DurationMS int64  `json:"duration_ms"`
	Message    string `json:"message"`
	kind       string
}

func (a echoArgs) Kind() string {
	if a.kind != "" {
		return a.kind
	}
	return "conformance_echo"
}

func (a echoArgs) echo() echoArgs { return a }

type peerArgs struct{ echoArgs }

func (peerArgs) Kind() string { return "conformance_echo_peer" }

type renamedArgs struct{ echoArgs }

func (renamedArgs) Kind() string          { return "conformance_echo_renamed" }
func (renamedArgs) KindAliases() []string { return []string{"conformance_echo"} }

type echoing interface {
	river.JobArgs
	echo() echoArgs
}

type worker[T echoing] struct {
	river.WorkerDefaults[T]
	runner *runner
}

func (w *worker[T]) Work(ctx context.Context, job *river.Job[T]) error {
	return w.runner.work(ctx, job.JobRow, job.Args.echo())
}

func (r *runner) workers(kinds []string) (*river.Workers, error) {
	workers := river.NewWorkers()
	for _, kind := range orDefault(kinds, "conformance_echo") {
		var err error
		switch kind {
		case "conformance_echo":
			err = river.AddWorkerSafely(workers, &worker[echoArgs]{runner: r})
		case "conformance_echo_peer":
			err = river.AddWorkerSafely(workers, &worker[peerArgs]{runner: r})
		case "conformance_echo_renamed":
			err = river.AddWorkerSafely(workers, &worker[renamedArgs]{runner: r})
		default:
			err = fail(codeParams, "unknown worker kind %q", kind)
		}
		if err != nil {
			return nil, err
		}
	}
	return workers, nil
}

func (r *runner) work(ctx context.Context, job *rivertype.JobRow, args echoArgs) error {
	switch args.Behavior {
	case "":
		return nil
	case "barrier_wait":
		return r.wait(ctx, args.Message)
	case "barrier_output":
		if err := r.wait(ctx, args.Message); err != nil {
			return err
		}
		return river.RecordOutput(ctx, map[string]string{"race": "worker"})
	case "sleep":
		return sleep(ctx, milliseconds(args.DurationMS))
	case "error":
		return errors.New("conformance retryable error")
	case "error_once": // beside the contract
		if job.Attempt == 1 {
			return errors.New("conformance first attempt fails")
		}
		return nil
	case "panic":
		panic("conformance panic")
	case "cancel":
		return river.JobCancel(errors.New("cancelled by conformance worker"))
	case "cooperative_cancel":
		if ctx.Err() != nil {
			r.cancelledAtStart.Add(1)
		}
		<-ctx.Done()
		return ctx.Err()
	case "output":
		return river.RecordOutput(ctx, map[string]string{"message": args.Message})
	case "snooze_once":
		if gjson.GetBytes(job.Metadata, "snoozes").Exists() {
			return nil
		}
		return river.JobSnooze(milliseconds(max(args.DurationMS, 1)))
	case "resumable_cursor":
		return resumable(ctx, job)
	}
	return fmt.Errorf("unknown behavior %q", args.Behavior)
}

func (r *runner) wait(ctx context.Context, name string) error {
	select {
	case <-r.peer.barrier(name):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const cursorValue = 7

// resumable fails in its second step with a cursor set, then in its third, and completes at the third attempt.
func resumable(ctx context.Context, job *rivertype.JobRow) error {
	river.ResumableStep(ctx, "first", nil, func(ctx context.Context) error {
		return river.MetadataSet(ctx, "first_attempt", job.Attempt)
	})
	river.ResumableStepCursor(ctx, "second", nil, func(ctx context.Context, cursor int) error {
		if job.Attempt == 1 {
			if err := river.ResumableSetCursor(ctx, cursorValue); err != nil {
				return err
			}
			return errors.New("second step fails with its cursor set")
		}
		if cursor != cursorValue {
			return fmt.Errorf("cursor is %d, not %d", cursor, cursorValue)
		}
		return river.MetadataSet(ctx, "cursor_observed", cursor)
	})
	river.ResumableStep(ctx, "third", nil, func(context.Context) error {
		if job.Attempt == 2 {
			return errors.New("third step fails once")
		}
		return nil
	})
	return nil
}
