# tools/targets.mk - the targets that are not the build itself. Included by the Makefile.
# SPDX-License-Identifier: MIT

.PHONY: tests
tests: $(tests) ## build the tests, do not run them

.PHONY: clean
clean: ## remove everything that was built
	rm -rf build
