# What a plan of updoser may not do. Each rule that holds is a reason to refuse it.
package main

import rego.v1

max_unknown_percent := 5

max_bytes := 10 * 1024 * 1024 * 1024

clients := sum([count | some count in input.clients])

deny contains msg if {
	some change in input.changes
	change.action == "deploy"
	change.downgrade
	msg := sprintf("%s goes back from %s to %s on %d clients", [change.component, change.from, change.to, change.clients])
}

deny contains msg if {
	input.summary.unknown * 100 > max_unknown_percent * clients
	msg := sprintf("%d of %d clients did not answer", [input.summary.unknown, clients])
}

deny contains msg if {
	input.summary.deploy.bytes > max_bytes
	msg := sprintf("%d GiB are sent to clients", [round(input.summary.deploy.bytes / ((1024 * 1024) * 1024))])
}

deny contains msg if {
	some left in input.leaving
	left.now
	msg := sprintf("%s isn't managed any more on %d clients of %s", [left.component, left.clients, left.group])
}

deny contains msg if {
	some release in input.provenance
	release.signed_by == null
	msg := sprintf("nobody vouches for %s %s", [release.component, release.version])
}

deny contains msg if {
	some name in input.unmet
	msg := sprintf("%s can't be had as declared", [name])
}

deny contains msg if {
	some rollout in input.rollouts
	rollout.status == "halted"
	msg := sprintf("the rollout of %s %s is halted", [rollout.component, rollout.version])
}
