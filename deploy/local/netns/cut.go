package netns

import (
	"context"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// Cut pulls a region's cable: from now on nothing enters or leaves its namespace, and nobody is told. Inside, its processes still reach each other.
func Cut(ctx context.Context, r layout.Region) error {
	return ip(ctx, "link", "set", Device(r), "down")
}

// Join puts the cable back.
func Join(ctx context.Context, r layout.Region) error {
	return ip(ctx, "link", "set", Device(r), "up")
}
