package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

const maxConnections = 10

// peer is one process's state: a pool, insert-only clients by schema, open transactions, and at most one working client.
type peer struct {
	pool     *pgxpool.Pool
	mu       sync.Mutex
	clients  map[string]*river.Client[pgx.Tx]
	txs      map[string]pgx.Tx
	barriers map[string]chan struct{}
	runner   *runner
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	config, err := poolConfig()
	if err != nil {
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	p := &peer{
		pool:     pool,
		clients:  map[string]*river.Client[pgx.Tx]{},
		txs:      map[string]pgx.Tx{},
		barriers: map[string]chan struct{}{},
	}
	err = serve(ctx, os.Stdin, os.Stdout, p.methods())
	p.close(ctx)
	return err
}

func poolConfig() (*pgxpool.Config, error) {
	address, err := url.Parse(os.Getenv("RIVER_CONFORMANCE_DATABASE_URL"))
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(address.String())
	if err != nil {
		return nil, err
	}
	config.MaxConns = maxConnections
	config.ConnConfig.RuntimeParams["application_name"] = os.Getenv("RIVER_CONFORMANCE_APPLICATION_NAME")
	return config, nil
}

func (p *peer) methods() map[string]handler {
	return map[string]handler{
		"cancel":         method(p.cancel),
		"handshake":      method(p.handshake),
		"insert":         method(p.insert),
		"list":           method(p.list),
		"migrate":        method(p.migrate),
		"queue":          method(p.queue),
		"release":        method(p.release),
		"request_resign": method(p.requestResign),
		"retry":          method(p.retry),
		"start":          method(p.start),
		"stats":          method(p.stats),
		"stop":           method(p.stop),
		"tx_begin":       method(p.txBegin),
		"tx_end":         method(p.txEnd),

		// Beside the contract:
		"delete":            method(p.delete),
		"delete_many":       method(p.deleteMany),
		"existing_versions": method(p.existingVersions),
		"get":               method(p.get),
		"insert_fast":       method(p.insertFast),
		"order":             method(p.order),
		"queue_add":         method(p.queueAdd),
		"queue_get":         method(p.queueGet),
		"queue_list":        method(p.queueList),
		"queue_remove":      method(p.queueRemove),
		"unique_keys":       method(p.uniqueKeys),
		"update":            method(p.update),
		"validate":          method(p.validate),
	}
}

func (p *peer) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	p.mu.Lock()
	runner, txs := p.runner, p.txs
	p.mu.Unlock()
	if runner != nil {
		runner.openClaims()
		_ = runner.client.StopAndCancel(ctx)
	}
	for _, tx := range txs {
		_ = tx.Rollback(ctx)
	}
}

// client is the insert-only client of a schema.
func (p *peer) client(schema string) (*river.Client[pgx.Tx], error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known, ok := p.clients[schema]; ok {
		return known, nil
	}
	client, err := river.NewClient(riverpgxv5.New(p.pool), &river.Config{Schema: schema, Logger: quiet()})
	if err != nil {
		return nil, err
	}
	p.clients[schema] = client
	return client, nil
}

func (p *peer) handshake(context.Context, none) (any, error) {
	return map[string]string{"driver": "postgres", "implementation": "go", "version": riverVersion()}, nil
}

// tx is the named open transaction, nil without a name.
func (p *peer) tx(name string) (pgx.Tx, error) {
	if name == "" {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	tx, ok := p.txs[name]
	if !ok {
		return nil, fail(codeNotFound, "transaction %q is not open", name)
	}
	return tx, nil
}

type txParams struct {
	TX     string `json:"tx"`
	Commit bool   `json:"commit"`
}

func (p *peer) txBegin(ctx context.Context, params struct {
	TX string `json:"tx"`
}) (any, error) {
	if params.TX == "" {
		return nil, fail(codeParams, "tx must have a name")
	}
	if _, err := p.tx(params.TX); err == nil {
		return nil, fail(codeRefused, "transaction %q is already open", params.TX)
	}
	tx, err := p.pool.Begin(ctx)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.txs[params.TX] = tx
	return none{}, nil
}

func (p *peer) txEnd(ctx context.Context, params txParams) (any, error) {
	tx, err := p.tx(params.TX)
	if err != nil {
		return nil, err
	}
	if tx == nil {
		return nil, fail(codeNotFound, "transaction %q is not open", params.TX)
	}
	p.mu.Lock()
	delete(p.txs, params.TX)
	p.mu.Unlock()
	if params.Commit {
		return none{}, tx.Commit(ctx)
	}
	return none{}, tx.Rollback(ctx)
}

func (p *peer) barrier(name string) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.barriers[name]; !ok {
		p.barriers[name] = make(chan struct{})
	}
	return p.barriers[name]
}

func (p *peer) release(_ context.Context, params struct {
	Name string `json:"name"`
}) (any, error) {
	barrier := p.barrier(params.Name)
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-barrier:
	default:
		close(barrier)
	}
	return none{}, nil
}
