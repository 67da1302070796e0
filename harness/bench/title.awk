# SPDX-License-Identifier: GPL-2.0
# The title of a platform; names has a line PLATFORM=TITLE for each.
function title(platform,   n, i, all) {
	n = split(names, all, "\n")
	for (i = 1; i <= n; i++)
		if (index(all[i], platform "=") == 1)
			return substr(all[i], length(platform) + 2)
	return platform
}
