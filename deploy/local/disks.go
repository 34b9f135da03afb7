package local

import (
	"context"
	"os"
	"path/filepath"

	"github.com/ofitec/ofitec/deploy/local/disk"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// diskImage is a region's disk, where it has one of its own. It stands outside the region's folder, on which it is mounted.
func (s *Stack) diskImage(r layout.Region) string {
	return filepath.Join(s.layout.Root, "disks", string(r)+".img")
}

// attachDisks gives the regions their disks before anything is written for them: when they are asked for, and when an earlier start has made them.
func (s *Stack) attachDisks(ctx context.Context) error {
	for _, r := range layout.Regions {
		image := s.diskImage(r)
		if _, err := os.Stat(image); err != nil && !s.options.Disks {
			continue
		}
		if err := disk.Attach(ctx, image, s.layout.RegionDir(r)); err != nil {
			return err
		}
	}
	return nil
}

// detachDisks takes the disks away, once nothing runs on them.
func (s *Stack) detachDisks() {
	for _, r := range layout.Regions {
		if _, err := os.Stat(s.diskImage(r)); err != nil {
			continue
		}
		if err := disk.Detach(s.layout.RegionDir(r)); err != nil {
			s.terminal.say("%v", err)
		}
	}
}
