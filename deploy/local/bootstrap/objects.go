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

const (
	archivePolicy = deploy.MinIOArchive
	backupPolicy  = deploy.MinIOBackup
)

// Objects makes the bucket of raw files, which keeps every version, and a user for each data region, which can add and read and never delete. Beside it stands the
// bucket of WAL and backups, with users of its own, and that of restic, whose user asks for sessions.
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
	for _, bucket := range []string{deploy.MinIOArchive, deploy.MinIOBackup} {
		if err := ensurePlainBucket(ctx, client, bucket); err != nil {
			return err
		}
	}
	admin := objectAdmin{http: &http.Client{Transport: transport}, address: address, user: string(user), password: string(password)}
	for name, render := range map[string]func() ([]byte, error){
		rawPolicy: deploy.MinIOBucket{Bucket: RawBucket}.RenderRawPolicy, archivePolicy: deploy.MinIOBucket{}.RenderArchivePolicy, backupPolicy: deploy.MinIOBucket{}.RenderBackupPolicy,
	} {
		policy, err := render()
		if err != nil {
			return err
		}
		if err := admin.putPolicy(ctx, name, bytes.TrimSpace(policy)); err != nil {
			return err
		}
	}
	for _, r := range layout.DataRegions {
		if err := ensureAccessKey(ctx, admin, l, identity.ArchiveUser(r), identity.ArchiveSecret(r), archivePolicy); err != nil {
			return fmt.Errorf("make archive user of region %s: %w", r, err)
		}
		if err := ensureAccessKey(ctx, admin, l, identity.ObjectUser(r), "s3-secret-key-"+string(r), rawPolicy); err != nil {
			return fmt.Errorf("make object store user of region %s: %w", r, err)
		}
	}
	return ensureAccessKey(ctx, admin, l, identity.BackupUser, identity.BackupSecret, backupPolicy)
}

func ensurePlainBucket(ctx context.Context, client *minio.Client, name string) error {
	exists, err := client.BucketExists(ctx, name)
	if err != nil {
		return fmt.Errorf("look for bucket %s: %w", name, err)
	}
	if exists {
		return nil
	}
	if err := client.MakeBucket(ctx, name, minio.MakeBucketOptions{}); err != nil {
		return fmt.Errorf("make bucket %s: %w", name, err)
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

// ensureAccessKey makes an access key, whose secret is one of the identities', and gives it one policy.
func ensureAccessKey(ctx context.Context, admin objectAdmin, l layout.Layout, user, master, policy string) error {
	secret, err := identity.Master(l, master)
	if err != nil {
		return err
	}
	if err := admin.putUser(ctx, user, string(secret)); err != nil {
		return err
	}
	return admin.setPolicy(ctx, user, policy)
}
