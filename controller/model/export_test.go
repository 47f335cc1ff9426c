package model

// What the transcripts, which need package status, share with the tests of this package.
var (
	Render     = render
	TestConfig = testConfig
	Brief      = brief
)
