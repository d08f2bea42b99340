// A net/http service under test: `goserver PORT`. See ../README.md for the lines it writes.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

var (
	jobs   = make(chan func(), 4096)
	mu     sync.Mutex
	flight = map[string]chan string{}
)

func say(class, gt, text string) {
	os.Stdout.WriteString("level=info class=" + class + " gt=" + gt + " msg=\"" + text + "\"\n")
}

func truth(r *http.Request) string {
	id := r.Header.Get("x-request-id")
	if id == "" {
		return "none"
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(id)))[:12]
}

func pause() {
	if rand.Intn(2) == 0 {
		time.Sleep(time.Duration(rand.Intn(2000)) * time.Microsecond)
	}
}

// shared: who comes first computes for all that wait; its line is that one's.
func shared(gt string) {
	mu.Lock()
	wait, there := flight["k"]
	if there {
		mu.Unlock()
		<-wait
		say("after-await", gt, "shared result")
		return
	}
	done := make(chan string)
	flight["k"] = done
	mu.Unlock()
	pause()
	say("sync", gt, "computed for all")
	mu.Lock()
	delete(flight, "k")
	mu.Unlock()
	close(done)
}

func serve(w http.ResponseWriter, r *http.Request) {
	gt := truth(r)
	say("sync", gt, "begin "+r.Method+" "+r.URL.Path)
	io.Copy(io.Discard, r.Body)
	pause()
	say("after-await", gt, "worked")
	switch r.URL.Path {
	case "/child":
		go func() {
			pause()
			say("child", gt, "child's work")
		}()
	case "/pool":
		done := make(chan bool)
		jobs <- func() { say("pool", gt, "pooled work"); close(done) }
		<-done
	case "/cache":
		shared(gt)
	case "/late":
		time.AfterFunc(time.Duration(1+rand.Intn(50))*time.Millisecond, func() { say("after-response", gt, "late") })
	case "/empty":
		w.WriteHeader(204)
		return
	case "/notmod":
		w.WriteHeader(304)
		return
	case "/chunked":
		io.WriteString(w, gt)
		w.(http.Flusher).Flush()
		say("sync", gt, "between chunks")
		io.WriteString(w, "\nmore\n")
		say("access-log", gt, r.URL.Path+" 200")
		return
	}
	io.WriteString(w, gt+"\n")
	say("access-log", gt, r.URL.Path+" 200")
}

func main() {
	say("startup", "-", "starting")
	for i := 0; i < 4; i++ {
		go func() {
			for job := range jobs {
				job()
			}
		}()
	}
	every("BACKGROUND", func() { say("background", "-", "housekeeping") })
	every("JOBS", func() { jobs <- func() { say("background", "-", "job on the pool") } })
	http.HandleFunc("/", serve)
	if err := http.ListenAndServe("127.0.0.1:"+os.Args[1], nil); err != nil {
		panic(err)
	}
}

// every runs f so many times a second as the environment variable says.
func every(name string, f func()) {
	rate, _ := strconv.Atoi(os.Getenv(name))
	if rate == 0 {
		return
	}
	go func() {
		for range time.Tick(time.Second / time.Duration(rate)) {
			f()
		}
	}()
}
