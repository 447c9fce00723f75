module devcluster.invalid/pause

go 1.24
