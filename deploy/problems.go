package deploy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// problems collects what is wrong with the fields of one configuration, so that all of it is reported at once.
type problems struct {
	of   string
	list []error
}

func (p *problems) add(field, format string, args ...any) {
	p.list = append(p.list, fmt.Errorf("%s.%s: %s", p.of, field, fmt.Sprintf(format, args...)))
}

func (p *problems) err() error { return errors.Join(p.list...) }

var (
	plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
	plainHost = regexp.MustCompile(`^[A-Za-z0-9_.:-]+$`)
	plainPath = regexp.MustCompile(`^/[A-Za-z0-9_./@+=:,-]*$`)
	plainSize = regexp.MustCompile(`^[0-9]+(kB|MB|GB)$`)
	slotName  = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)
)

// name accepts identifiers that need no quoting in any of the servers' languages.
func (p *problems) name(field, value string) {
	if !plainName.MatchString(value) {
		p.add(field, "%q is not a name of letters, digits, dot, dash and underscore", value)
	}
}

func (p *problems) hostPort(field, value string) {
	host, port, err := net.SplitHostPort(value)
	if err != nil || !plainHost.MatchString(host) {
		p.add(field, "%q is not host:port", value)
		return
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		p.add(field, "%q has no port between 1 and 65535", value)
	}
}

func (p *problems) hostPorts(field string, values []string) {
	if len(values) == 0 {
		p.add(field, "is empty")
	}
	for i, value := range values {
		p.hostPort(fmt.Sprintf("%s[%d]", field, i), value)
	}
}

func (p *problems) address(field, value string) {
	if _, err := netip.ParseAddr(value); err != nil {
		p.add(field, "%q is not an IP address", value)
	}
}

// path accepts absolute paths without blanks or quotes: the servers' languages disagree on how to escape those.
func (p *problems) path(field, value string) {
	if !plainPath.MatchString(value) || filepath.Clean(value) != value {
		p.add(field, "%q is not a clean absolute path without blanks and quotes", value)
	}
}

// socket is a path that also fits into the 107 bytes of a Unix socket's address.
func (p *problems) socket(field, value string) {
	p.path(field, value)
	if len(value) > 107 {
		p.add(field, "%q is %d bytes, a Unix socket's path may have 107", value, len(value))
	}
}

func (p *problems) tls(field string, files TLSFiles) {
	p.path(field+".Cert", files.Cert)
	p.path(field+".Key", files.Key)
	p.path(field+".CA", files.CA)
}

func (p *problems) duration(field string, value, least, most time.Duration) {
	if value < least || value > most {
		p.add(field, "%v is not between %v and %v", value, least, most)
	}
}

func (p *problems) size(field, value string) {
	if !plainSize.MatchString(value) {
		p.add(field, "%q is not a size such as 64MB", value)
	}
}

func (p *problems) oneOf(field, value string, allowed ...string) {
	for _, one := range allowed {
		if value == one {
			return
		}
	}
	p.add(field, "%q is not one of %s", value, strings.Join(allowed, ", "))
}

// oneLine refuses what would end a quoted string or a line.
func (p *problems) oneLine(field, value string) {
	if value == "" || strings.ContainsAny(value, "\"'\\\n\r\t") {
		p.add(field, "is empty or has a quote, a backslash or a line break")
	}
}

func (p *problems) port(field string, value int) {
	if value < 1 || value > 65535 {
		p.add(field, "%d is not a port", value)
	}
}
