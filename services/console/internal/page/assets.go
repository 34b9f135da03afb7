package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"strconv"
)

// assets are the page's files, as they are committed: no build makes them. assets/SHA256SUMS has the checksums of those that others wrote.
//
//go:embed assets
var assets embed.FS

var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// served are the files that a browser may ask for by name.
var served = func() map[string]asset {
	list := map[string]asset{}
	entries, err := assets.ReadDir("assets")
	if err != nil {
		panic(err) // they are embedded
	}
	for _, entry := range entries {
		kind, known := contentTypes[path.Ext(entry.Name())]
		if !known {
			continue
		}
		content, err := assets.ReadFile("assets/" + entry.Name())
		if err != nil {
			panic(err) // they are embedded
		}
		sum := sha256.Sum256(content)
		list[entry.Name()] = asset{content, kind, `"` + hex.EncodeToString(sum[:8]) + `"`}
	}
	return list
}()

type asset struct {
	content []byte
	kind    string
	tag     string
}

// serveAsset gives a file to anybody on this machine: there is nothing in it that is not in the repository.
func serveAsset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	file, found := served[name]
	if !found || path.Ext(name) == ".html" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", file.tag)
	if r.Header.Get("If-None-Match") == file.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	write(w, http.StatusOK, file)
}

func servePage(w http.ResponseWriter, status int, name string) { write(w, status, served[name]) }

func write(w http.ResponseWriter, status int, file asset) {
	w.Header().Set("Content-Type", file.kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(file.content)))
	w.WriteHeader(status)
	_, _ = w.Write(file.content) // the caller has gone when this fails
}
