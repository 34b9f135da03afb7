package dns

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// ReadToken reads the bearer token of a provider's API. It goes to no log.
func ReadToken(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read API token: %w", err)
	}
	token := strings.TrimSpace(string(content))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("read API token %s: must hold one word of visible characters", path)
	}
	return token, nil
}

// WithoutAddress is what a call by HTTP failed of, without the URL, in which a password may stand.
func WithoutAddress(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}
