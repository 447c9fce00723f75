package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// runEvent is a line of the file of runs; AtNS is the time in nanoseconds since 1970.
type runEvent struct {
	Attempt int    `json:"attempt"`
	AtNS    int64  `json:"at_ns"`
	Client  string `json:"client"`
	Event   string `json:"event"`
	Job     int64  `json:"job"`
}

// noting is middleware that writes down when each attempt starts and ends, at once, so that a killed process has said what it ran.
func noting(path, client string) ([]rivertype.Middleware, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	note := func(job *rivertype.JobRow, event string) error {
		line, err := json.Marshal(runEvent{job.Attempt, time.Now().UnixNano(), client, event, job.ID})
		if err != nil {
			return err
		}
		_, err = file.Write(append(line, '\n'))
		return err
	}
	work := func(ctx context.Context, job *rivertype.JobRow, doInner func(ctx context.Context) error) error {
		if err := note(job, "started"); err != nil {
			return err
		}
		result := doInner(ctx)
		if err := note(job, "ended"); err != nil {
			return err
		}
		return result
	}
	return []rivertype.Middleware{river.WorkerMiddlewareFunc(work)}, nil
}
