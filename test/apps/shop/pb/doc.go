// Package pb is generated from shop.proto.
package pb
