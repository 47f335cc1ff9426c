# Tulle's one entry point. `make help` lists the targets; each installs what it lacks and says so.
SHELL := bash
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: generate
generate: ## write the generated code again (needs protoc)
	go generate ./...
