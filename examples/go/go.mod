module unsay-example

go 1.19
