// Package servingcert keeps the certificate that a Service shows to the API server: of a webhook, or of an aggregated
// API.
//
// It owns the certificate with its authority, the Secret that the replicas share, and the order of each renewal. It
// imports client-go, and knows no object that names the authorities but APIServices: its user's Announce function
// writes those. The one idea: an API server always trusts what it meets, because a certificate is served only after its
// authority was announced. No replica leads: all of them derive the same from the same objects, and the API server
// refuses a write that was based on an old version.
package servingcert
