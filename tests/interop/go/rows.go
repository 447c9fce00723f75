package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river/rivertype"
)

// job is a row the way the contract writes it.
type job struct {
	Args         json.RawMessage          `json:"args"`
	Attempt      int                      `json:"attempt"`
	AttemptedAt  *time.Time               `json:"attempted_at"`
	AttemptedBy  []string                 `json:"attempted_by"`
	CreatedAt    time.Time                `json:"created_at"`
	Errors       []rivertype.AttemptError `json:"errors"`
	FinalizedAt  *time.Time               `json:"finalized_at"`
	ID           int64                    `json:"id"`
	Kind         string                   `json:"kind"`
	MaxAttempts  int                      `json:"max_attempts"`
	Metadata     json.RawMessage          `json:"metadata"`
	Priority     int                      `json:"priority"`
	Queue        string                   `json:"queue"`
	ScheduledAt  time.Time                `json:"scheduled_at"`
	State        string                   `json:"state"`
	Tags         []string                 `json:"tags"`
	UniqueKey    *string                  `json:"unique_key"`
	UniqueStates []string                 `json:"unique_states"`
}

func toJob(row *rivertype.JobRow) job {
	result := job{
		Args:        row.EncodedArgs,
		Attempt:     row.Attempt,
		AttemptedAt: inUTC(row.AttemptedAt),
		AttemptedBy: orEmpty(row.AttemptedBy),
		CreatedAt:   row.CreatedAt.UTC(),
		Errors:      orEmpty(row.Errors),
		FinalizedAt: inUTC(row.FinalizedAt),
		ID:          row.ID,
		Kind:        row.Kind,
		MaxAttempts: row.MaxAttempts,
		Metadata:    withoutNonce(row.Metadata),
		Priority:    row.Priority,
		Queue:       row.Queue,
		ScheduledAt: row.ScheduledAt.UTC(),
		State:       string(row.State),
		Tags:        orEmpty(row.Tags),
	}
	for i, element := range result.Errors {
		result.Errors[i].At = element.At.UTC()
	}
	if row.UniqueKey != nil {
		key := hex.EncodeToString(row.UniqueKey)
		result.UniqueKey = &key
		for _, state := range row.UniqueStates {
			result.UniqueStates = append(result.UniqueStates, string(state))
		}
		slices.Sort(result.UniqueStates)
	}
	return result
}

func toJobs(rows []*rivertype.JobRow) []job {
	jobs := make([]job, 0, len(rows))
	for _, row := range rows {
		jobs = append(jobs, toJob(row))
	}
	return jobs
}

// jobOr passes an error on and turns a row into its result.
func jobOr(row *rivertype.JobRow, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return toJob(row), nil
}

func inUTC(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	utc := t.UTC()
	return &utc
}

func orEmpty[T any](values []T) []T {
	if values == nil {
		return []T{}
	}
	return values
}

// withoutNonce drops the key that differs by nature between two inserts; all other text is passed on as it is.
func withoutNonce(metadata []byte) json.RawMessage {
	if !bytes.Contains(metadata, []byte(`"river:unique_nonce"`)) {
		return metadata
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(metadata, &fields) != nil {
		return metadata
	}
	delete(fields, "river:unique_nonce")
	data, err := json.Marshal(fields)
	if err != nil {
		return metadata
	}
	return data
}

func riverVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/riverqueue/river" {
				return strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	return "unknown"
}

func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}
