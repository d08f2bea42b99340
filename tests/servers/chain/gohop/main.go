// A hop of the chain as people write them with net/http: `gohop PORT NEXT-URL`.
//
// It asks the next service with one shared client (connections from its pool), hands on the id header that it was sent (when it was
// sent one), and logs before and after. truth= in a line is what the load generator sent in X-Truth, which is no id header; it is
// all that the checker needs, and means nothing to tapline.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

var client = &http.Client{
	Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	Timeout:   30 * time.Second,
}

func ask(next string, r *http.Request) (string, error) {
	out, err := http.NewRequestWithContext(r.Context(), "GET", next+r.URL.Path, nil)
	if err != nil {
		return "", err
	}
	for _, name := range []string{"X-Truth", "X-Request-Id"} {
		if value := r.Header.Get(name); value != "" {
			out.Header.Set(name, value)
		}
	}
	answer, err := client.Do(out)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gohop PORT NEXT-URL")
		os.Exit(2)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		truth := r.Header.Get("X-Truth")
		log.Printf("hop=go asks truth=%s", truth)
		body, err := ask(os.Args[2], r)
		if err != nil {
			log.Printf("hop=go failed truth=%s: %v", truth, err)
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		log.Printf("hop=go was told %d bytes truth=%s", len(body), truth)
		fmt.Fprint(w, body)
	})
	go func() {
		for range time.Tick(5 * time.Millisecond) {
			log.Print("hop=go housekeeping truth=none")
		}
	}()
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
