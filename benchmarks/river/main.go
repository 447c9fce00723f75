// Command river drives River for Go in the benchmarks: it prints one JSON object with what it measured.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

type args struct {
	Num int `json:"num"`
}

func (args) Kind() string { return "benchmark" }

type worker struct {
	river.WorkerDefaults[args]
	sleep time.Duration
	begun func(num int)
	ended func(spent time.Duration)
}

func (w *worker) Work(_ context.Context, job *river.Job[args]) error {
	at := time.Now()
	w.begun(job.Args.Num)
	if w.sleep > 0 {
		time.Sleep(w.sleep)
	}
	w.ended(time.Since(at))
	return nil
}

type options struct {
	url      string
	jobs     int
	slots    int
	batch    int
	pool     int
	rate     float64
	sleep    time.Duration
	cooldown time.Duration
	poll     time.Duration
	fast     bool
}

func main() {
	var o options
	flag.StringVar(&o.url, "url", "", "database")
	flag.IntVar(&o.jobs, "jobs", 100_000, "jobs")
	flag.IntVar(&o.slots, "slots", 100, "MaxWorkers")
	flag.IntVar(&o.batch, "batch", 1, "jobs an insert")
	flag.IntVar(&o.pool, "pool", 10, "connections of the pool")
	flag.Float64Var(&o.rate, "rate", 100, "inserts a second")
	flag.DurationVar(&o.sleep, "sleep", 0, "time a job takes")
	flag.DurationVar(&o.cooldown, "cooldown", 100*time.Millisecond, "FetchCooldown")
	flag.DurationVar(&o.poll, "poll", time.Second, "FetchPollInterval")
	flag.BoolVar(&o.fast, "fast", false, "insert by COPY")
	mode := os.Args[1]
	if err := flag.CommandLine.Parse(os.Args[2:]); err != nil {
		os.Exit(2)
	}
	run := map[string]func(context.Context, options) (map[string]any, error){
		"drain": drain, "insert": insert, "latency": latency,
	}[mode]
	figures, err := run(context.Background(), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	figures["rss_mb"] = mostRSS()
	_ = json.NewEncoder(os.Stdout).Encode(figures)
}

// mostRSS is the most memory that this process has had, in MB; what Getrusage says begins with that of the harness that forked it.
func mostRSS() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kilobytes, _ := strconv.ParseFloat(fields[0], 64)
	return kilobytes / 1024
}

func cpu() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func open(ctx context.Context, o options, work *worker) (*pgxpool.Pool, *river.Client[pgx.Tx], error) {
	config, err := pgxpool.ParseConfig(o.url)
	if err != nil {
		return nil, nil, err
	}
	config.MaxConns = int32(o.pool)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	settings := &river.Config{Logger: quiet}
	if work != nil {
		settings.Workers = river.NewWorkers()
		river.AddWorker(settings.Workers, work)
		settings.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: o.slots}}
		settings.FetchCooldown = o.cooldown
		settings.FetchPollInterval = o.poll
	}
	client, err := river.NewClient(riverpgxv5.New(pool), settings)
	return pool, client, err
}

// drain works jobs that are there already, until all of them are completed in the table.
func drain(ctx context.Context, o options) (map[string]any, error) {
	var ended, spent, first atomic.Int64
	done := make(chan struct{})
	work := &worker{
		sleep: o.sleep,
		begun: func(int) { first.CompareAndSwap(0, time.Now().UnixNano()) },
		ended: func(took time.Duration) {
			spent.Add(int64(took))
			if ended.Add(1) == int64(o.jobs) {
				close(done)
			}
		},
	}
	pool, client, err := open(ctx, o, work)
	if err != nil {
		return nil, err
	}
	before := cpu()
	if err := client.Start(ctx); err != nil {
		return nil, err
	}
	<-done
	var lookedAt time.Time // of the look that sees the end: one may take long
	for left := true; left; {
		const query = "SELECT EXISTS (SELECT FROM river_job WHERE state IN ('available', 'running'))"
		lookedAt = time.Now()
		if err := pool.QueryRow(ctx, query).Scan(&left); err != nil {
			return nil, err
		}
		if left {
			time.Sleep(5 * time.Millisecond)
		}
	}
	took := time.Duration(lookedAt.UnixNano() - first.Load())
	used := cpu() - before
	if err := client.Stop(ctx); err != nil {
		return nil, err
	}
	return map[string]any{
		"per_second": float64(o.jobs) / took.Seconds(),
		"of_slots":   float64(spent.Load()) / float64(took) / float64(o.slots),
		"client_us":  float64(used.Microseconds()) / float64(o.jobs),
		"ran":        ended.Load(),
	}, nil
}

// insert inserts jobs in batches, one after the other.
func insert(ctx context.Context, o options) (map[string]any, error) {
	_, client, err := open(ctx, o, nil)
	if err != nil {
		return nil, err
	}
	batches := make([][]river.InsertManyParams, 0, o.jobs/o.batch)
	for num := 0; num < o.jobs; {
		batch := make([]river.InsertManyParams, 0, o.batch)
		for ; len(batch) < o.batch && num < o.jobs; num++ {
			batch = append(batch, river.InsertManyParams{Args: args{Num: num}})
		}
		batches = append(batches, batch)
	}
	// The first batch, which connects and prepares, is not timed unless it is the only one.
	timed, before, started := o.jobs, cpu(), time.Now()
	for number, batch := range batches {
		if number == 1 {
			timed, before, started = o.jobs-o.batch, cpu(), time.Now()
		}
		switch {
		case o.batch == 1:
			_, err = client.Insert(ctx, batch[0].Args, nil)
		case o.fast:
			_, err = client.InsertManyFast(ctx, batch)
		default:
			_, err = client.InsertMany(ctx, batch)
		}
		if err != nil {
			return nil, err
		}
	}
	took := time.Since(started)
	return map[string]any{
		"per_second": float64(timed) / took.Seconds(),
		"client_us":  float64((cpu() - before).Microseconds()) / float64(timed),
		"ran":        o.jobs,
	}, nil
}

// latency inserts jobs at a steady rate and times each from before its insert, and from after it, to its start.
func latency(ctx context.Context, o options) (map[string]any, error) {
	var mutex sync.Mutex
	called, returned := make([]time.Time, o.jobs), make([]time.Time, o.jobs)
	started := make([]time.Time, o.jobs)
	var ended atomic.Int64
	work := &worker{
		sleep: o.sleep,
		begun: func(num int) {
			mutex.Lock()
			defer mutex.Unlock()
			started[num] = time.Now()
		},
		ended: func(time.Duration) { ended.Add(1) },
	}
	_, client, err := open(ctx, o, work)
	if err != nil {
		return nil, err
	}
	if err := client.Start(ctx); err != nil {
		return nil, err
	}
	time.Sleep(time.Second)
	ticker := time.NewTicker(time.Duration(float64(time.Second) / o.rate))
	for num := range o.jobs {
		<-ticker.C
		called[num] = time.Now()
		if _, err := client.Insert(ctx, args{Num: num}, nil); err != nil {
			return nil, err
		}
		returned[num] = time.Now()
	}
	for ended.Load() < int64(o.jobs) {
		time.Sleep(10 * time.Millisecond)
	}
	if err := client.Stop(ctx); err != nil {
		return nil, err
	}
	call, commit := make([]float64, o.jobs), make([]float64, o.jobs)
	for num := range o.jobs {
		call[num] = started[num].Sub(called[num]).Seconds() * 1000
		commit[num] = started[num].Sub(returned[num]).Seconds() * 1000
	}
	return map[string]any{"call_ms": call, "commit_ms": commit, "ran": ended.Load()}, nil
}
