// Package pb is generated from the .proto files of package api. It holds no code of its own.
package pb
