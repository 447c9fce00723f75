// Riverpeer wraps River for Go so that tests can drive it: one JSON-RPC 2.0 request a line on stdin, one response a line on
// stdout. It answers the fourteen methods of River's conformance contract, and some of its own for what that leaves out.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/riverqueue/river/rivertype"
)

const (
	codeParse    = -32700
	codeRequest  = -32600
	codeMethod   = -32601
	codeParams   = -32602
	codeNotFound = -32001
	codeRefused  = -32002
)

const maxLine = 64 << 20

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *rpcError) Error() string { return e.Message }

func fail(code int, format string, args ...any) *rpcError {
	return &rpcError{Code: code, Message: fmt.Sprintf(format, args...)}
}

type request struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      int64           `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
}

type response struct {
	Error   *rpcError `json:"error,omitempty"`
	ID      int64     `json:"id"`
	JSONRPC string    `json:"jsonrpc"`
	Result  any       `json:"result,omitempty"`
}

type handler func(ctx context.Context, params json.RawMessage) (any, error)

// method makes a handler of a function with typed params; a field that the type lacks is refused at any depth.
func method[P any](call func(ctx context.Context, params P) (any, error)) handler {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var params P
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.DisallowUnknownFields()
		if len(raw) > 0 {
			if err := decoder.Decode(&params); err != nil {
				return nil, fail(codeParams, "%s", err)
			}
		}
		return call(ctx, params)
	}
}

type none struct{}

// serve answers requests until stdin ends. Each runs on its own, so that one that waits for a lock holds up no other.
func serve(ctx context.Context, input io.Reader, output io.Writer, methods map[string]handler) error {
	var (
		mu      sync.Mutex
		pending sync.WaitGroup
	)
	ctx, cancel := context.WithCancel(ctx)
	defer pending.Wait()
	defer cancel()
	scanner := bufio.NewScanner(input)
	scanner.Buffer(make([]byte, 0, 1<<20), maxLine)
	for scanner.Scan() {
		line := bytes.Clone(scanner.Bytes())
		pending.Go(func() {
			answer := answerTo(ctx, line, methods)
			data, err := json.Marshal(answer)
			if err != nil {
				data, _ = json.Marshal(response{ID: answer.ID, JSONRPC: "2.0", Error: fail(codeRefused, "%s", err)})
			}
			mu.Lock()
			defer mu.Unlock()
			_, _ = output.Write(append(data, '\n'))
		})
	}
	return scanner.Err()
}

func answerTo(ctx context.Context, line []byte, methods map[string]handler) response {
	var req request
	if err := json.Unmarshal(line, &req); err != nil {
		return response{JSONRPC: "2.0", Error: fail(codeParse, "%s", err)}
	}
	answer := response{ID: req.ID, JSONRPC: "2.0"}
	call, known := methods[req.Method]
	switch {
	case req.JSONRPC != "2.0":
		answer.Error = fail(codeRequest, "jsonrpc must be \"2.0\"")
	case !known:
		answer.Error = fail(codeMethod, "unknown method %q", req.Method)
	default:
		result, err := call(ctx, req.Params)
		if err != nil {
			answer.Error = toRPC(err)
		} else {
			answer.Result = result
		}
	}
	return answer
}

func toRPC(err error) *rpcError {
	if known, ok := errors.AsType[*rpcError](err); ok {
		return known
	}
	if errors.Is(err, rivertype.ErrNotFound) {
		return fail(codeNotFound, "%s", err)
	}
	return fail(codeRefused, "%s", err)
}
