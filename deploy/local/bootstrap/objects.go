package bootstrap

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/identity"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// RawBucket is the bucket of raw files that all regions share.
const RawBucket = "ofitec-raw"

const rawPolicy = "ofitec-raw"

const archivePolicy = deploy.MinIOArchive

// Objects makes the bucket of raw files, which keeps every version, and a user for each data region, which can add and read and never delete. Beside it stands the
// bucket of WAL and backups, with users of its own.
// address is host:port of MinIO.
func Objects(ctx context.Context, l layout.Layout, address string, config *tls.Config) error {
	user, err := identity.Master(l, "minio-root-user")
	if err != nil {
		return err
	}
	password, err := identity.Master(l, "minio-root-password")
	if err != nil {
		return err
	}
	login := credentials.NewStaticV4(string(user), string(password), "")
	transport := &http.Transport{TLSClientConfig: config.Clone(), DisableKeepAlives: true}
	client, err := minio.New(address, &minio.Options{Creds: login, Secure: true, Transport: transport, Region: "us-east-1"})
	if err != nil {
		return fmt.Errorf("make object store client: %w", err)
	}
	if err := ensureBucket(ctx, client); err != nil {
		return err
	}
	if exists, err := client.BucketExists(ctx, deploy.MinIOArchive); err != nil {
		return fmt.Errorf("look for bucket %s: %w", deploy.MinIOArchive, err)
	} else if !exists {
		if err := client.MakeBucket(ctx, deploy.MinIOArchive, minio.MakeBucketOptions{}); err != nil {
			return fmt.Errorf("make bucket %s: %w", deploy.MinIOArchive, err)
		}
	}
	admin := objectAdmin{http: &http.Client{Transport: transport}, address: address, user: string(user), password: string(password)}
	policy, err := deploy.MinIOBucket{Bucket: RawBucket}.RenderRawPolicy()
	if err != nil {
		return err
	}
	if err := admin.putPolicy(ctx, rawPolicy, bytes.TrimSpace(policy)); err != nil {
		return err
	}
	if policy, err = (deploy.MinIOBucket{}).RenderArchivePolicy(); err != nil {
		return err
	}
	if err := admin.putPolicy(ctx, archivePolicy, bytes.TrimSpace(policy)); err != nil {
		return err
	}
	for _, r := range layout.DataRegions {
		if err := ensureArchiveUser(ctx, admin, l, r); err != nil {
			return fmt.Errorf("make archive user of region %s: %w", r, err)
		}
		if err := ensureObjectUser(ctx, admin, l, r); err != nil {
			return fmt.Errorf("make object store user of region %s: %w", r, err)
		}
	}
	return nil
}

// ensureBucket makes the bucket with versions: what stands under a name can be overlaid but not replaced.
func ensureBucket(ctx context.Context, client *minio.Client) error {
	exists, err := client.BucketExists(ctx, RawBucket)
	if err != nil {
		return fmt.Errorf("look for bucket %s: %w", RawBucket, err)
	}
	if !exists {
		if err := client.MakeBucket(ctx, RawBucket, minio.MakeBucketOptions{}); err != nil {
			return fmt.Errorf("make bucket %s: %w", RawBucket, err)
		}
	}
	versions, err := client.GetBucketVersioning(ctx, RawBucket)
	if err != nil {
		return fmt.Errorf("read versioning of bucket %s: %w", RawBucket, err)
	}
	if versions.Enabled() {
		return nil
	}
	if err := client.EnableVersioning(ctx, RawBucket); err != nil {
		return fmt.Errorf("switch versioning of bucket %s on: %w", RawBucket, err)
	}
	return nil
}

func ensureObjectUser(ctx context.Context, admin objectAdmin, l layout.Layout, r layout.Region) error {
	secret, err := identity.Master(l, "s3-secret-key-"+string(r))
	if err != nil {
		return err
	}
	user := identity.ObjectUser(r)
	if err := admin.putUser(ctx, user, string(secret)); err != nil {
		return err
	}
	return admin.setPolicy(ctx, user, rawPolicy)
}

func ensureArchiveUser(ctx context.Context, admin objectAdmin, l layout.Layout, r layout.Region) error {
	secret, err := identity.Master(l, identity.ArchiveSecret(r))
	if err != nil {
		return err
	}
	if err := admin.putUser(ctx, identity.ArchiveUser(r), string(secret)); err != nil {
		return err
	}
	return admin.setPolicy(ctx, identity.ArchiveUser(r), archivePolicy)
}
