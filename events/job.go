package events

// JobRotate asks the rotator to rotate one credential now.
type JobRotate struct {
	Name string `json:"name" jsonschema:"description=the credential"`
	Act  Act    `json:"act"`
}

// Type implements Payload.
func (JobRotate) Type() Type { return TypeJobRotate }

// Entity implements Payload.
func (p JobRotate) Entity() string { return p.Name }

// Key implements Payload.
func (p JobRotate) Key() string { return p.Act.Request }

// Validate implements Payload.
func (p JobRotate) Validate() error {
	var c Check
	c.Token("name", p.Name)
	c.Part("act", p.Act.Problems())
	return invalid(p, c.problems)
}

// AllDatasets as the dataset of JobExport asks for every one.
const AllDatasets = "all"

// JobExport asks etl-ingest to pull a dataset now.
type JobExport struct {
	Dataset   string `json:"dataset" jsonschema:"description=a dataset or all"`
	Reconcile bool   `json:"reconcile" jsonschema:"description=also compare ids and digests with the source"`
	Act       Act    `json:"act"`
}

// Type implements Payload.
func (JobExport) Type() Type { return TypeJobExport }

// Entity implements Payload.
func (p JobExport) Entity() string { return p.Dataset }

// Key implements Payload.
func (p JobExport) Key() string { return p.Act.Request }

// Validate implements Payload.
func (p JobExport) Validate() error {
	var c Check
	c.Token("dataset", p.Dataset)
	c.Part("act", p.Act.Problems())
	return invalid(p, c.problems)
}
