package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofitec/ofitec/deploy/local/control"
	"github.com/ofitec/ofitec/deploy/local/disk"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// diskKinds are the harms to a region's disk: that of its database, of its members of etcd and NATS, and of its services.
var diskKinds = []faultKind{
	{
		use: "slow-disk REGION", lasts: 30 * time.Second,
		short: "Let a region's disk take a few writes a second only, for a while",
		long:  "The kernel holds back whatever is more, for the region's database, etcd, NATS and the file system's own journal. It needs a stack started with up --disks.",
		check: regionCheck, make: slowDiskFault,
	},
	{
		use: "full-disk REGION", lasts: 30 * time.Second,
		short: "Fill a region's disk to the last block, for a while",
		long:  "Nothing can be written any more by the region's database, etcd, NATS and services, and logs are cut off. It needs a stack started with up --disks.",
		check: regionCheck, make: fullDiskFault,
	},
}

// slowWrites is what a slow disk takes each second. A commit alone needs two or three.
const slowWrites = 10

func slowDiskFault(name string, lasts time.Duration, c faultContext) (fault, error) {
	dir, err := c.diskOf(name)
	if err != nil {
		return fault{}, err
	}
	return fault{
		name: fmt.Sprintf("the disk of region %s takes %d writes a second", name, slowWrites), lasts: lasts, must: c.ailing(name, lasts),
		begin: func(context.Context) error { return disk.Slow(c.now.PID, dir, slowWrites) },
		end:   func(context.Context) error { return disk.Slow(c.now.PID, dir, 0) },
	}, nil
}

func fullDiskFault(name string, lasts time.Duration, c faultContext) (fault, error) {
	dir, err := c.diskOf(name)
	if err != nil {
		return fault{}, err
	}
	return fault{
		name: "the disk of region " + name + " is full", lasts: lasts, must: c.ailing(name, lasts),
		begin: func(context.Context) error { return disk.Fill(dir) },
		end:   func(context.Context) error { return disk.Free(dir) },
	}, nil
}

// diskOf is a region's folder, which must be a disk of its own.
func (c faultContext) diskOf(name string) (string, error) {
	dir := c.layout.RegionDir(layout.Region(name))
	if !disk.Own(dir) {
		return "", fmt.Errorf("region %s has no disk of its own: all regions would feel it. Start the stack with up --disks, on a new data folder", name)
	}
	return dir, nil
}

// grayOutage is how long a region that answers and cannot work may keep the writes: its gates turn red, stay so for a minute (OFITEC_GATES_RED), and a failover follows.
const grayOutage = 90 * time.Second

// ailing is what must follow when a region can hardly write: it is moved away from, unless that is over before.
func (c faultContext) ailing(name string, lasts time.Duration) expectation {
	if layout.Region(name) != c.active() {
		return expectation{moves: stays, maxOutage: outageStays}
	}
	if lasts >= grayOutage {
		return expectation{moves: moved, maxOutage: grayOutage}
	}
	return expectation{moves: either, maxOutage: lasts + outageClosed}
}

// healDisk takes back what a drill has done to the disk of a region's folder; without one of its own there is nothing.
func healDisk(status control.Status, dir string) error {
	if !disk.Own(dir) {
		return nil
	}
	return errors.Join(disk.Slow(status.PID, dir, 0), disk.Free(dir))
}
