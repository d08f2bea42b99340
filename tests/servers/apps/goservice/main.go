// A small HTTP service as people write them with net/http: `goservice PORT`.
//
// It knows nothing of tapline. Its lines carry what a checker needs to know the truth without it:
//
//	n=      each number from 1 up is in exactly one line of the process
//	class=  request (written while serving), child (by a goroutine the handler started), background (by nobody's request)
//	gt=     the first 12 hex digits of SHA-256(x-request-id), so the id itself is never in a line; none in background lines
//
// Lines go to stderr through log and to stdout through fmt, each by one write. At SIGTERM or SIGINT it finishes what
// it serves and writes to the file that TRUTH_FILE names how many lines and bytes it wrote to each.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// counter counts what a writer accepted. Writes of whole lines only.
type counter struct {
	to    io.Writer
	lines int64
	bytes int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	if n > 0 {
		atomic.AddInt64(&c.bytes, int64(n))
	}
	if err == nil {
		atomic.AddInt64(&c.lines, 1)
	}
	return n, err
}

var (
	stdout   = &counter{to: os.Stdout}
	stderr   = &counter{to: os.Stderr}
	number   int64
	children sync.WaitGroup
)

func next() int64 { return atomic.AddInt64(&number, 1) }

func truthOf(id string) string {
	if id == "" {
		return "-"
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])[:12]
}

func work() { time.Sleep(time.Duration(rand.Intn(3000)) * time.Microsecond) }

func child(gt string) {
	defer children.Done()
	work()
	log.Printf("audit written gt=%s n=%d class=child", gt, next())
}

func serve(w http.ResponseWriter, r *http.Request) {
	gt := truthOf(r.Header.Get("X-Request-Id"))
	began := time.Now()
	log.Printf("begin %s %s gt=%s n=%d class=request", r.Method, r.URL.Path, gt, next())
	work()
	if rand.Intn(4) == 0 {
		children.Add(1)
		go child(gt)
	}
	if rand.Intn(2) == 0 {
		fmt.Fprintf(stdout, "{\"level\":\"info\",\"msg\":\"looked up\",\"gt\":\"%s\",\"n\":%d,\"class\":\"request\"}\n", gt, next())
		work()
	}
	fmt.Fprintf(stdout, "level=info msg=done status=200 us=%d gt=%s n=%d class=request\n", time.Since(began).Microseconds(), gt, next())
	w.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(w, "gt=%s\n", gt)
}

// background writes a line that belongs to no request every 5 ms.
func background(stop <-chan struct{}) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			log.Printf("housekeeping n=%d class=background", next())
		}
	}
}

func writeTruth() error {
	name := os.Getenv("TRUTH_FILE")
	if name == "" {
		return nil
	}
	text := fmt.Sprintf("stdout_lines=%d\nstdout_bytes=%d\nstderr_lines=%d\nstderr_bytes=%d\nlast_n=%d\n",
		stdout.lines, stdout.bytes, stderr.lines, stderr.bytes, number)
	if err := os.WriteFile(name+".tmp", []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: goservice PORT")
		os.Exit(2)
	}
	log.SetOutput(stderr)
	rand.Seed(time.Now().UnixNano())

	server := &http.Server{Addr: "127.0.0.1:" + os.Args[1], Handler: http.HandlerFunc(serve)}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	stop, down := make(chan struct{}), make(chan struct{})
	var loops sync.WaitGroup
	loops.Add(1)
	go func() { defer loops.Done(); background(stop) }()
	go func() {
		<-signals
		limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = server.Shutdown(limit)
		close(down)
	}()

	err := server.ListenAndServe()
	if err != http.ErrServerClosed {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-down
	children.Wait()
	close(stop)
	loops.Wait()
	if err := writeTruth(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
