package route53

import (
	"fmt"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// CheckCredentials says what is wrong with a file of credentials, and never what stands in it.
func CheckCredentials(path string) error {
	_, err := readCredentials(path)
	return err
}

// readCredentials reads section [default] of AWS's shared credentials, or a file without sections.
func readCredentials(path string) (aws.Credentials, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("read AWS credentials: %w", err)
	}
	found := aws.Credentials{Source: "file"}
	section := "default"
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = strings.TrimSpace(line[1 : len(line)-1])
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section != "default" {
			continue
		}
		switch value = strings.TrimSpace(value); strings.TrimSpace(key) {
		case "aws_access_key_id":
			found.AccessKeyID = value
		case "aws_secret_access_key":
			found.SecretAccessKey = value
		case "aws_session_token":
			found.SessionToken = value
		}
	}
	if !found.HasKeys() {
		return aws.Credentials{}, fmt.Errorf("read AWS credentials %s: must hold aws_access_key_id and aws_secret_access_key, under [default]", path)
	}
	return found, nil
}
