package dotenv

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

const ordinary = `# POSTGRES_USER=not this one
export PATH_TO=/somewhere

POSTGRES_HOST=127.0.0.11
POSTGRES_USER="old user"   
	POSTGRES_PASSWORD='old'
POSTGRES_USERS=many
TEXT="several
POSTGRES_USER=inside a text
lines"
  export POSTGRES_DB = x
no assignment
LAST=1`

func TestOnlyTheValuesChangeAndEveryOtherByteStays(t *testing.T) {
	got, err := Change([]byte(ordinary), Value{"POSTGRES_USER", "v-odoo-1"}, Value{"POSTGRES_PASSWORD", "p w"})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(`POSTGRES_USER="old user"   `, `POSTGRES_USER=v-odoo-1`, `POSTGRES_PASSWORD='old'`, `POSTGRES_PASSWORD='p w'`).Replace(ordinary)
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	again, err := Change(got, Value{"POSTGRES_USER", "v-odoo-1"}, Value{"POSTGRES_PASSWORD", "p w"})
	if err != nil || !bytes.Equal(again, got) {
		t.Errorf("a second change is another one: %v\n%s", err, again)
	}
}

func TestAKeyThatStandsTwiceIsChangedTwice(t *testing.T) {
	got, err := Change([]byte("A=1\nA=2\n"), Value{"A", "3"})
	if err != nil || string(got) != "A=3\nA=3\n" {
		t.Errorf("%v %q", err, got)
	}
}

func TestTextsThatCannotBeWrittenAreRefusedAndNotShown(t *testing.T) {
	for _, text := range []string{"", "a\nb", "a\rb", "a\x00b", "secret'`"} {
		_, err := Change([]byte("K=1\n"), Value{"K", text})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

var (
	both  = []Value{{"POSTGRES_USER", "new"}, {"POSTGRES_PASSWORD", "word"}}
	login = map[string]string{"POSTGRES_USER": "new", "POSTGRES_PASSWORD": "word"}
)

func write(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(file, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAFileIsReplacedWithItsOwnerAndTheOneBeforeIsKept(t *testing.T) {
	const before = "A=1\nPOSTGRES_USER=old\nPOSTGRES_PASSWORD=old\n"
	file := write(t, before, 0o644)
	owner := os.Getuid()
	if os.Geteuid() == 0 {
		owner = 62104
		if err := os.Chown(file, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	changed, err := Apply(file, "", Edit{Set: login})
	if err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	for name, want := range map[string]string{file: "A=1\nPOSTGRES_USER=new\nPOSTGRES_PASSWORD=word\n", file + ".bak": before} {
		content, err := os.ReadFile(name)
		if err != nil || string(content) != want {
			t.Errorf("%s holds %q: %v", name, content, err)
		}
		info, err := os.Stat(name)
		if err != nil || info.Mode() != 0o600 || int(info.Sys().(*syscall.Stat_t).Uid) != owner {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
	if changed, err = Apply(file, "", Edit{Set: login}); err != nil || changed {
		t.Errorf("a second time: changed %v, %v", changed, err)
	}
	if content, _ := os.ReadFile(file + ".bak"); string(content) != before {
		t.Errorf("the backup is lost: %q", content)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*.new"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAProcessThatDiedWhileWritingIsNoHindrance(t *testing.T) {
	file := write(t, "POSTGRES_USER=old\nPOSTGRES_PASSWORD=old\n", 0o600)
	for _, name := range []string{file + ".new", file + ".bak.new"} {
		if err := os.WriteFile(name, []byte("half a li"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Apply(file, "", Edit{Set: login}); err != nil {
		t.Error(err)
	}
}

func TestOneFileIsMadeLikeAnother(t *testing.T) {
	file := write(t, "C=green\nPOSTGRES_USER=old\nPOSTGRES_PASSWORD=old\n", 0o600)
	other := write(t, "C=blue\nPOSTGRES_USER=u\nPOSTGRES_PASSWORD=\"it's \\$5\"\n", 0o600)
	if changed, err := Apply(file, other, Edit{Take: []string{"POSTGRES_USER", "POSTGRES_PASSWORD"}}); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if content, _ := os.ReadFile(file); string(content) != "C=green\nPOSTGRES_USER=u\nPOSTGRES_PASSWORD=\"it's \\$5\"\n" {
		t.Errorf("%s", content)
	}
}

// TestOnesOwnKeysAreSetAndThoseOfOthersAreWhatTheOtherFileHas is how several credentials share a file: what another one has brought to the other colour meanwhile comes along.
func TestOnesOwnKeysAreSetAndThoseOfOthersAreWhatTheOtherFileHas(t *testing.T) {
	const text = "TEXT=\"several\nMASTER=inside a text\nlines\"\n"
	file := write(t, text+"POSTGRES_USER=old\nMASTER=stale # of a time ago\nAWS_TOKEN='same' # kept\nHERE=1\nEMPTY=\n", 0o600)
	other := write(t, text+"POSTGRES_USER=other\nMASTER=\"the one in use\" # a note\nAWS_TOKEN=same\nTHERE=1\nEMPTY=\n", 0o600)
	edit := Edit{Set: map[string]string{"POSTGRES_USER": "new"}, Keep: []string{"MASTER", "AWS_TOKEN", "HERE", "THERE", "NOWHERE", "EMPTY"}}
	if changed, err := Apply(file, other, edit); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if content, _ := os.ReadFile(file); string(content) != text+"POSTGRES_USER=new\nMASTER='the one in use'\nAWS_TOKEN='same' # kept\nHERE=1\nEMPTY=\n" {
		t.Errorf("%s", content)
	}
	if changed, err := Apply(file, other, edit); err != nil || changed {
		t.Errorf("a second time: changed %v, %v", changed, err)
	}
	var refused *Refused
	if _, err := Apply(file, other, Edit{Take: []string{"HERE"}}); !errors.As(err, &refused) || refused.File != other || !strings.Contains(err.Error(), "has no line HERE=") {
		t.Errorf("what the other file must have: %v", err)
	}
}

func TestAValueThatIsReadInTwoWaysIsRefusedAndNotShown(t *testing.T) {
	for content, want := range map[string]string{
		"K='secret'$MORE\n":    "has a value of K that goes on behind its closing quote",
		"K=\"secret\nmore\"\n": "has a value of K that goes on over several lines",
	} {
		if _, err := Read([]byte(content), "K"); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestWhatCannotBeChangedSafelyIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	const good = "POSTGRES_USER=old\nPOSTGRES_PASSWORD=old\n"
	cases := map[string]struct {
		make func(t *testing.T) string
		want string
	}{
		"a link": {func(t *testing.T) string {
			file := write(t, good, 0o600)
			link := filepath.Join(t.TempDir(), ".env")
			if err := os.Symlink(file, link); err != nil {
				t.Fatal(err)
			}
			return link
		}, "is a link"},
		"a hard link": {func(t *testing.T) string {
			file := write(t, good, 0o600)
			if err := os.Link(file, file+".second"); err != nil {
				t.Fatal(err)
			}
			return file
		}, "second name"},
		"nothing":           {func(t *testing.T) string { return filepath.Join(t.TempDir(), ".env") }, "is not there"},
		"a folder":          {func(t *testing.T) string { return t.TempDir() }, "no regular file"},
		"a missing key":     {func(t *testing.T) string { return write(t, "POSTGRES_USER=old\n", 0o600) }, "has no line POSTGRES_PASSWORD="},
		"Windows line ends": {func(t *testing.T) string { return write(t, strings.ReplaceAll(good, "\n", "\r\n"), 0o600) }, "Windows line ends"},
		"a read-only file":  {func(t *testing.T) string { return write(t, good, 0o400) }, "is read-only"},
		"an open quote": {func(t *testing.T) string {
			return write(t, "POSTGRES_USER=old\nPOSTGRES_PASSWORD='old\nword'\n", 0o600)
		}, "several lines"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			file := c.make(t)
			before, _ := os.ReadFile(file)
			_, err := Apply(file, "", Edit{Set: login})
			var refused *Refused
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("error is %v", err)
			}
			if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
				t.Error("the file was touched")
			}
			if beside, _ := filepath.Glob(file + ".*"); len(beside) > 0 && name != "a hard link" {
				t.Errorf("left behind: %v", beside)
			}
		})
	}
}

// asNobody runs a function on a thread of its own that has no rights; the thread ends with it.
func asNobody(t *testing.T, run func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	const nobody = 65534
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: nobody else gets this thread
		for _, call := range []uintptr{syscall.SYS_SETRESGID, syscall.SYS_SETRESUID} {
			if _, _, failed := syscall.RawSyscall(call, nobody, nobody, nobody); failed != 0 {
				t.Errorf("give up root's rights: %v", failed)
				return
			}
		}
		run()
	}()
	<-done
}

func TestWhatThisUserMayNotWriteIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	const good = "POSTGRES_USER=old\nPOSTGRES_PASSWORD=old\n"
	for _, c := range []struct {
		name          string
		owner         int
		mode, folders os.FileMode
		want          string
	}{
		{"the folder is somebody else's", 65534, 0o600, 0o755, "stands in a folder in which this process may not write"},
		{"the file is somebody else's", 0, 0o644, 0o777, "belongs to user 0, and user 65534 cannot keep its owner"},
		{"the file is secret", 0, 0o600, 0o777, "may not be read by this process"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("/tmp", "of") // t.TempDir is closed to others
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			file := filepath.Join(dir, ".env")
			for _, err := range []error{os.WriteFile(file, []byte(good), 0o600), os.Chmod(file, c.mode), os.Chown(file, c.owner, -1), os.Chmod(dir, c.folders)} {
				if err != nil {
					t.Skipf("prepare the file: %v", err)
				}
			}
			asNobody(t, func() {
				_, err := Apply(file, "", Edit{Set: login})
				var refused *Refused
				if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error is %v", err)
				}
			})
			if after, _ := os.ReadFile(file); string(after) != good {
				t.Errorf("the file holds %q", after)
			}
			if left, _ := os.ReadDir(dir); len(left) != 1 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
