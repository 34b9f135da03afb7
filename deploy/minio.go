package deploy

// MinIOBucket is the bucket of raw files that all regions share. Raw files are immutable: a region's user adds and reads
// them and cannot delete one; that it cannot replace one either is the bucket's versioning, to be switched on.
type MinIOBucket struct {
	Bucket string // "ofitec-raw" when empty; three letters or more
}

// MinIOArchive is the bucket of WAL and backups.
const MinIOArchive = "ofitec-archive"

// MinIOBackup is the bucket of restic's repositories, which it opens by sessions of an hour.
const MinIOBackup = "ofitec-backup"

// RenderBackupPolicy returns the policy of the user whose keys may ask for these sessions, which can do no more than it can.
func (m MinIOBucket) RenderBackupPolicy() ([]byte, error) {
	if m.Bucket == "" {
		m.Bucket = MinIOBackup
	}
	return m.render("minio/backup.json.tmpl")
}

// RenderArchivePolicy returns the policy of those who archive: they may also delete, for backups expire.
func (m MinIOBucket) RenderArchivePolicy() ([]byte, error) {
	if m.Bucket == "" {
		m.Bucket = MinIOArchive
	}
	return m.render("minio/archive.json.tmpl")
}

// RenderRawPolicy returns the policy of a region's user, as `mc admin policy create` and the S3 API take it.
func (m MinIOBucket) RenderRawPolicy() ([]byte, error) {
	if m.Bucket == "" {
		m.Bucket = "ofitec-raw"
	}
	return m.render("minio/raw.json.tmpl")
}

func (m MinIOBucket) render(template string) ([]byte, error) {
	p := problems{of: "minio"}
	p.name("Bucket", m.Bucket)
	if len(m.Bucket) < 3 {
		p.add("Bucket", "%q is shorter than three letters", m.Bucket)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return render(template, m)
}
