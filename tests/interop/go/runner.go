package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

const stopTimeout = 10 * time.Second

// runner is the one working client of this process and what it has seen since its start.
type runner struct {
	client           *river.Client[pgx.Tx]
	peer             *peer
	openClaims       func()
	cancelledAtStart atomic.Int64
	handlerCalls     atomic.Int64
	periodicStarts   atomic.Int64
	mu               sync.Mutex
	events           []string
}

type startParams struct {
	ClaimBarrier           string   `json:"claim_barrier"`
	ClientID               string   `json:"client_id"`
	ErrorHandlerCancel     bool     `json:"error_handler_cancel"`
	FetchOnlyKnownKinds    bool     `json:"fetch_only_known_kinds"`
	FetchPollIntervalMS    int64    `json:"fetch_poll_interval_ms"`
	JobTimeoutMS           int64    `json:"job_timeout_ms"`
	LeaderElectionDisabled bool     `json:"leader_election_disabled"`
	MaxWorkers             int      `json:"max_workers"`
	PeriodicEveryMS        int64    `json:"periodic_every_ms"` // beside the contract: a job at this interval, once in each
	PeriodicRunOnStart     bool     `json:"periodic_run_on_start"`
	PeriodicUnique         bool     `json:"periodic_unique"`
	PollOnly               bool     `json:"poll_only"`
	Queues                 []string `json:"queues"`
	RescueAfterMS          int64    `json:"rescue_after_ms"`
	RetryDelayMS           int64    `json:"retry_delay_ms"`
	Runs                   string   `json:"runs"` // beside the contract: the file that says when attempts start and end
	Schema                 string   `json:"schema"`
	Tuning                 struct {
		ElectIntervalMS     int64 `json:"elect_interval_ms"`
		RescuerIntervalMS   int64 `json:"rescuer_interval_ms"`
		SchedulerIntervalMS int64 `json:"scheduler_interval_ms"`
	} `json:"tuning"` // hints, which River for Go has no settings for
	WorkerKinds []string `json:"worker_kinds"`
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func (p *peer) start(ctx context.Context, params startParams) (any, error) {
	if _, err := p.running(); err == nil {
		return nil, fail(codeRefused, "a client is already running")
	}
	r := &runner{peer: p, openClaims: func() {}}
	config, err := r.config(params)
	if err != nil {
		return nil, err
	}
	if r.client, err = river.NewClient(riverpgxv5.New(p.pool), config); err != nil {
		return nil, err
	}
	r.watch()
	if err := r.client.Start(context.WithoutCancel(ctx)); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runner = r
	return none{}, nil
}

func (r *runner) config(params startParams) (*river.Config, error) {
	workers, err := r.workers(params.WorkerKinds)
	if err != nil {
		return nil, err
	}
	periodic, err := periodicJobs(params)
	if err != nil {
		return nil, err
	}
	queues := map[string]river.QueueConfig{}
	for _, name := range orDefault(params.Queues, "default") {
		queues[name] = river.QueueConfig{MaxWorkers: max(params.MaxWorkers, 0)}
		if params.MaxWorkers == 0 {
			queues[name] = river.QueueConfig{MaxWorkers: 4}
		}
	}
	config := &river.Config{
		FetchCooldown:          time.Millisecond,
		FetchOnlyKnownKinds:    params.FetchOnlyKnownKinds,
		FetchPollInterval:      milliseconds(params.FetchPollIntervalMS),
		Hooks:                  r.hooks(params.ClaimBarrier),
		ID:                     params.ClientID,
		JobTimeout:             milliseconds(params.JobTimeoutMS),
		LeaderElectionDisabled: params.LeaderElectionDisabled,
		Logger:                 quiet(),
		PeriodicJobs:           periodic,
		PollOnly:               params.PollOnly,
		Queues:                 queues,
		RescueStuckJobsAfter:   milliseconds(params.RescueAfterMS),
		Schema:                 params.Schema,
		TestOnly:               true, // no random delay before maintenance
		Workers:                workers,
	}
	if params.Runs != "" {
		if config.Middleware, err = noting(params.Runs, params.ClientID); err != nil {
			return nil, err
		}
	}
	if params.RetryDelayMS > 0 {
		config.RetryPolicy = fixedRetry(milliseconds(params.RetryDelayMS))
	}
	if params.ErrorHandlerCancel {
		config.ErrorHandler = &cancellingHandler{runner: r}
	}
	return config, nil
}

func orDefault(values []string, fallback string) []string {
	if len(values) == 0 {
		return []string{fallback}
	}
	return values
}

// hooks count periodic starts, and hold the first claimed jobs at a barrier: River emits this metric after the claim has been
// committed and before the jobs are handed to executors.
func (r *runner) hooks(claimBarrier string) []rivertype.Hook {
	hooks := []rivertype.Hook{
		river.HookPeriodicJobsStartFunc(func(context.Context, *rivertype.HookPeriodicJobsStartParams) error {
			r.periodicStarts.Add(1)
			return nil
		}),
	}
	if claimBarrier == "" {
		return hooks
	}
	barrier, held := r.peer.barrier(claimBarrier), atomic.Bool{}
	stopping := make(chan struct{})
	r.openClaims = sync.OnceFunc(func() { close(stopping) })
	return append(hooks, river.HookMetricEmitFunc(func(_ context.Context, params *rivertype.HookMetricEmitParams) {
		claimed, ok := params.Metric.(*rivertype.JobGetAvailableCountMetric)
		if ok && claimed.Count > 0 && held.CompareAndSwap(false, true) {
			select {
			case <-barrier:
			case <-stopping:
			}
		}
	}))
}

func periodicJobs(params startParams) ([]*river.PeriodicJob, error) {
	if params.PeriodicUnique && !params.PeriodicRunOnStart {
		return nil, fail(codeParams, "periodic_unique needs periodic_run_on_start")
	}
	var (
		jobs   []*river.PeriodicJob
		unique river.UniqueOpts
	)
	if params.PeriodicUnique {
		unique = river.UniqueOpts{ByArgs: true, ByQueue: true}
	}
	if params.PeriodicRunOnStart {
		jobs = append(jobs, periodic("conformance-periodic", "periodic run on start", time.Hour, unique))
	}
	if params.PeriodicUnique {
		jobs = append(jobs, periodic("conformance-periodic-marker", "periodic marker", time.Hour, river.UniqueOpts{}))
	}
	if every := milliseconds(params.PeriodicEveryMS); every > 0 {
		jobs = append(jobs, periodic("conformance-tick", "tick", every, river.UniqueOpts{ByArgs: true, ByPeriod: every}))
	}
	return jobs, nil
}

func periodic(id, message string, every time.Duration, unique river.UniqueOpts) *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(every), func() (river.JobArgs, *river.InsertOpts) {
		return echoArgs{Message: message}, &river.InsertOpts{UniqueOpts: unique}
	}, &river.PeriodicJobOpts{ID: id, RunOnStart: true})
}

type fixedRetry time.Duration

func (d fixedRetry) NextRetry(*rivertype.JobRow) time.Time { return time.Now().Add(time.Duration(d)) }

type cancellingHandler struct{ runner *runner }

func (h *cancellingHandler) HandleError(context.Context, *rivertype.JobRow, error) *river.ErrorHandlerResult {
	h.runner.handlerCalls.Add(1)
	return &river.ErrorHandlerResult{SetCancelled: true}
}

func (h *cancellingHandler) HandlePanic(context.Context, *rivertype.JobRow, any, string) *river.ErrorHandlerResult {
	h.runner.handlerCalls.Add(1)
	return &river.ErrorHandlerResult{SetCancelled: true}
}

// watch records the kinds of events until the client stops, which closes the channel.
func (r *runner) watch() {
	events, _ := r.client.SubscribeConfig(&river.SubscribeConfig{
		ChanSize: 100_000,
		Kinds: []river.EventKind{
			river.EventKindJobCancelled, river.EventKindJobCompleted, river.EventKindJobFailed, river.EventKindJobSnoozed,
			river.EventKindQueuePaused, river.EventKindQueueResumed,
		},
	})
	go func() {
		for event := range events {
			r.mu.Lock()
			r.events = append(r.events, string(event.Kind))
			r.mu.Unlock()
		}
	}()
}

func (p *peer) running() (*runner, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runner == nil {
		return nil, fail(codeRefused, "no client is running")
	}
	return p.runner, nil
}

func (p *peer) stats(context.Context, none) (any, error) {
	r, err := p.running()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return map[string]any{
		"cancelled_at_start":  r.cancelledAtStart.Load(),
		"error_handler_calls": r.handlerCalls.Load(),
		"events":              append([]string{}, r.events...),
		"periodic_starts":     r.periodicStarts.Load(),
	}, nil
}

func (p *peer) stop(ctx context.Context, params struct {
	Cancel bool `json:"cancel"`
}) (any, error) {
	r, err := p.running()
	if err != nil {
		return nil, err
	}
	r.openClaims()
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if params.Cancel {
		err = r.client.StopAndCancel(ctx)
	} else {
		err = r.client.Stop(ctx)
	}
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runner = nil
	return none{}, nil
}
