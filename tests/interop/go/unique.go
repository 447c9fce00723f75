package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// value is a Go value described without using JSON's own numbers and strings, so that what is encoded is Go's doing alone.
type value struct {
	Type   string   `json:"type"`
	Text   string   `json:"text"`
	Names  []string `json:"names"`
	Values []value  `json:"values"`
}

// member keeps the order of a struct's fields.
type member struct {
	name  string
	value any
}

type object []member

func (o object) MarshalJSON() ([]byte, error) {
	text := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			text = append(text, ',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		encoded, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		text = append(append(append(text, name...), ':'), encoded...)
	}
	return append(text, '}'), nil
}

func (v value) native() (any, error) {
	switch v.Type {
	case "null":
		return nil, nil
	case "bool":
		return v.Text == "true", nil
	case "int":
		number, ok := new(big.Int).SetString(v.Text, 10)
		if !ok {
			return nil, fail(codeParams, "not an integer: %q", v.Text)
		}
		return number, nil
	case "float": // the bits in hexadecimal
		bits, err := strconv.ParseUint(v.Text, 16, 64)
		return math.Float64frombits(bits), err
	case "string":
		return v.Text, nil
	case "time":
		return time.Parse(time.RFC3339Nano, v.Text)
	case "bytes":
		return hex.DecodeString(v.Text)
	}
	return v.nested()
}

func (v value) nested() (any, error) {
	values := make([]any, 0, len(v.Values))
	for _, inner := range v.Values {
		native, err := inner.native()
		if err != nil {
			return nil, err
		}
		values = append(values, native)
	}
	switch v.Type {
	case "list":
		return values, nil
	case "map":
		result := make(map[string]any, len(values))
		for i, name := range v.Names {
			result[name] = values[i]
		}
		return result, nil
	case "struct":
		result := make(object, 0, len(values))
		for i, name := range v.Names {
			result = append(result, member{name, values[i]})
		}
		return result, nil
	}
	return nil, fail(codeParams, "unknown type %q", v.Type)
}

// uniqueArgs encode as whatever value they hold.
type uniqueArgs struct {
	kind  string
	value any
}

func (a uniqueArgs) Kind() string                 { return a.kind }
func (a uniqueArgs) MarshalJSON() ([]byte, error) { return json.Marshal(a.value) }

type account struct {
	ID     string `json:"id,omitempty"     river:"unique"`
	Note   string `json:"note,omitempty"`
	Region string `json:"region,omitempty" river:"unique"`
}

// Base is exported because River looks into exported fields only.
type Base struct {
	Tenant int64  `json:"tenant" river:"unique"`
	Trace  string `json:"trace"`
}

// selectedArgs have unique fields at the top, in a nested struct and in an embedded one.
type selectedArgs struct {
	Base
	Account *account        `json:"account,omitempty" river:"unique"`
	Label   *string         `json:"label"             river:"unique"`
	Payload json.RawMessage `json:"payload,omitempty" river:"unique"`
	Other   string          `json:"other"`
}

func (selectedArgs) Kind() string { return "interop_selected" }

type uniqueCase struct {
	Kind        string          `json:"kind"`
	Now         *time.Time      `json:"now"`
	Queue       string          `json:"queue"`
	ScheduledAt time.Time       `json:"scheduled_at"`
	Selected    json.RawMessage `json:"selected"`
	Unique      uniqueOpts      `json:"unique"`
	Value       *value          `json:"value"`
}

func (c uniqueCase) args() (river.JobArgs, error) {
	if len(c.Selected) > 0 {
		var args selectedArgs
		return args, json.Unmarshal(c.Selected, &args)
	}
	native, err := c.Value.native()
	return uniqueArgs{c.Kind, native}, err
}

type uniqueResult struct {
	Encoded string `json:"encoded"`
	Key     string `json:"key"`
	States  byte   `json:"states"`
}

// uniqueKeys says what River would write for each case, and writes nothing: a middleware looks at the params and stops there.
func (p *peer) uniqueKeys(ctx context.Context, params struct {
	Cases []uniqueCase `json:"cases"`
}) (any, error) {
	results := make([]uniqueResult, 0, len(params.Cases))
	look := river.JobInsertMiddlewareFunc(func(_ context.Context, many []*rivertype.JobInsertParams,
		_ func(context.Context) ([]*rivertype.JobInsertResult, error),
	) ([]*rivertype.JobInsertResult, error) {
		for _, one := range many {
			results = append(results, uniqueResult{string(one.EncodedArgs), hex.EncodeToString(one.UniqueKey), one.UniqueStates})
		}
		return []*rivertype.JobInsertResult{{Job: &rivertype.JobRow{}}}, nil
	})
	tx, err := p.pool.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	clock := &fixedClock{}
	client, err := river.NewClient(riverpgxv5.New(p.pool), &river.Config{
		Logger: quiet(), Middleware: []rivertype.Middleware{look}, Test: river.TestConfig{Time: clock},
	})
	if err != nil {
		return nil, err
	}
	for _, one := range params.Cases {
		args, err := one.args()
		if err != nil {
			return nil, err
		}
		clock.now = one.Now
		opts := &river.InsertOpts{Queue: one.Queue, ScheduledAt: one.ScheduledAt, UniqueOpts: one.Unique.toRiver()}
		if _, err := client.InsertTx(ctx, tx, args, opts); err != nil {
			return nil, err
		}
	}
	return map[string]any{"results": results}, nil
}

type fixedClock struct{ now *time.Time }

func (c *fixedClock) Now() time.Time {
	if c.now != nil {
		return *c.now
	}
	return time.Now()
}

func (c *fixedClock) NowOrNil() *time.Time { return c.now }
