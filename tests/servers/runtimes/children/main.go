// Command children is a service whose requests are worked on by goroutines of their own: a child, its child, one that lives on after the
// response, and workers of a pool that was there before. Each line tells its class and, as the ground truth of a test, the first 12 hex
// digits of the SHA-256 of the request's id.
package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"sync"
	"time"
)

func truth(r *http.Request) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(r.Header.Get("X-Request-ID"))))[:12]
}

func say(class, gt string) {
	fmt.Fprintf(os.Stdout, "class=%s gt=%s\n", class, gt)
}

func main() {
	address := flag.String("listen", "127.0.0.1:21700", "address")
	cert := flag.String("cert", "", "serve TLS with this certificate and -key")
	key := flag.String("key", "", "")
	flag.Parse()
	jobs := make(chan string, 64)
	for i := 0; i < 8; i++ {
		go func() {
			for gt := range jobs {
				say("pool", gt)
			}
		}()
	}
	go func() {
		for {
			time.Sleep(5 * time.Millisecond)
			say("background", "-")
		}
	}()
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		gt := truth(r)
		say("direct", gt)
		var wait sync.WaitGroup
		wait.Add(2)
		go func() {
			defer wait.Done()
			say("child", gt)
			go func() {
				defer wait.Done()
				say("grandchild", gt)
			}()
		}()
		go func() {
			time.Sleep(20 * time.Millisecond)
			say("late", gt)
		}()
		jobs <- gt
		wait.Wait()
		say("direct", gt)
		fmt.Fprintln(w, "ok")
	})
	if *cert != "" {
		log.Fatal(http.ListenAndServeTLS(*address, *cert, *key, nil))
	}
	log.Fatal(http.ListenAndServe(*address, nil))
}
