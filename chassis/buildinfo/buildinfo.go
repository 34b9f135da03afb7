// Package buildinfo says which build of a program runs.
package buildinfo

import (
	"fmt"
	"runtime/debug"
)

// version is set by the linker: -ldflags "-X github.com/ofitec/ofitec/chassis/buildinfo.version=v1.2.3".
var version string

// Info identifies a build. Fields that the build did not record are empty, Version is then "devel".
type Info struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // commit
	Time     string `json:"time,omitempty"`     // of the commit, RFC 3339
	Go       string `json:"go"`
}

// Get reads what the linker and the Go tool recorded in this binary.
func Get() Info {
	info := Info{Version: version}
	if build, ok := debug.ReadBuildInfo(); ok {
		info.Go = build.GoVersion
		for _, s := range build.Settings {
			switch s.Key {
			case "vcs.revision":
				info.Revision = s.Value
			case "vcs.time":
				info.Time = s.Value
			}
		}
	}
	if info.Version == "" {
		info.Version = "devel"
	}
	return info
}

// String is one line for people.
func (i Info) String() string {
	if i.Revision == "" {
		return fmt.Sprintf("%s %s", i.Version, i.Go)
	}
	return fmt.Sprintf("%s %s %s %s", i.Version, i.Revision, i.Time, i.Go)
}
