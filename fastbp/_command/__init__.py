"""The `fastbp` command, on the public API.

    main      the options, the help, the exit codes, the errors; `fastbp info`
    train     `fastbp train`
    check     `fastbp check`: gradients and functions
    digests   and the bits
    summary   and the six lines of all of it
    bench/    `fastbp bench`
    problems  a network and a batch from the raw bits of a seed
    machine   CPU, libraries and load, which figures depend on
    figures   matplotlib, or an error that names the extra
    exits     the exit codes

`main` imports what a subcommand needs once that is asked for; nothing imports `main`.
"""
