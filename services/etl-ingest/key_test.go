package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/seal"
)

func newRawKey(t *testing.T) string {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return key.String() + "\n"
}

func (s *site) mustMatchSealed(t *testing.T, ring string) {
	t.Helper()
	keys, err := seal.Parse(ring)
	if err != nil {
		t.Fatal(err)
	}
	for _, dataset := range []string{"invoice", "partner"} {
		mustEqual(t, replay(t, openFolder(t, filepath.Join(s.config.Warehouse, "raw")), s.records(t), dataset, keys), s.erp.rows(dataset))
	}
}

func TestRawFilesAreEncryptedAndAKeyIsReplacedWithoutLosingTheOldFiles(t *testing.T) {
	s := newSite(t)
	fill(s.erp)
	before, after := newRawKey(t), newRawKey(t)
	s.config.RawKey = config.Secret(before)
	s.mustOnce(t)
	s.mustMatchSealed(t, before)
	ready, _ := s.announced(t)
	for _, r := range ready {
		if r.Rows > 0 && (!r.Encrypted || !strings.HasSuffix(r.RawURL, ".zst.age")) {
			t.Errorf("record %d is announced as %s, encrypted %v", r.Sequence, r.RawURL, r.Encrypted)
		}
	}

	s.config.RawKey = config.Secret(after + before)
	s.erp.remove("invoice", 7)
	s.erp.put("invoice", 50, monday.Add(-100*24*time.Hour), "restored from a backup")
	s.erp.put("invoice", 300, monday.Add(48*time.Hour), "new")
	s.mustOnce(t) // reads the old files for its books
	s.mustMatchSealed(t, after+before)

	s.config.RawKey = config.Secret(after)
	if err := os.RemoveAll(s.config.booksDir()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.once(t); err == nil {
		t.Error("the old key is gone, files that only it opens are there, and it went well")
	}
	s.mustHoldNothingReadable(t, "restored from a backup", "written by SQL", "write_date")
}

// mustHoldNothingReadable fails when a text stands in a raw file, as it is or only compressed.
func (s *site) mustHoldNothingReadable(t *testing.T, texts ...string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(filepath.Join(s.config.Warehouse, "raw"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/_manifest/") {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if !bytes.HasPrefix(content, []byte("age-encryption.org/v1\n")) {
			t.Errorf("%s is not encrypted", path)
		}
		for _, text := range texts {
			if bytes.Contains(content, []byte(text)) {
				t.Errorf("%s holds %q", path, text)
			}
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("%d files, %v", files, err)
	}
}

func TestEncryptionBeginsOverFilesThatAreNot(t *testing.T) {
	s := newSite(t)
	fill(s.erp)
	s.mustOnce(t)
	plain := len(s.records(t))
	key := newRawKey(t)
	s.config.RawKey = config.Secret(key)
	s.erp.put("invoice", 300, monday.Add(48*time.Hour), "new")
	s.mustOnce(t)
	s.mustMatchSealed(t, key)
	for _, r := range s.records(t)[plain:] {
		if r.Path != "" && r.Kind == manifest.KindRows && !strings.HasSuffix(r.Path, ".age") {
			t.Errorf("record %d is kept as %s", r.Sequence, r.Path)
		}
	}
}

func TestAKeyThatIsNoneIsRefusedByName(t *testing.T) {
	c := newSite(t).config
	c.RawKey = "hunter2"
	problems := c.Problems()
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "OFITEC_RAW_KEY") || strings.Contains(problems[0].Error(), "hunter2") {
		t.Errorf("it says %v", problems)
	}
}
