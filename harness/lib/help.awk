# SPDX-License-Identifier: GPL-2.0
# make help:  awk -f help.awk Makefile
#   ##@ GROUP           a heading
#   TARGET:   ## TEXT   a target
#   ## TEXT             a further line of the target or of the group above

/^##@ / {
	printf "\n%s\n", substr($0, 5)
	target = ""
}
/^[a-z-]+:.* ## / {
	target = $1
	sub(/:.*/, "", target)
	sub(/^.* ## /, "")
	printf "  make %-10s %s\n", target, $0
}
/^##( |$)/ {
	text = substr($0, 4)
	if (target != "")
		sub(/^ +/, "                  ", text)
	else if (text != "")
		text = "  " text
	print text
}
