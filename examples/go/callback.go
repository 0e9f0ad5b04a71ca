package main

// #include <unsay.h>
import "C"

import (
	"runtime/cgo"
	"unsafe"
)

// goStep is what C calls after each step of a run; context points at the handle of a Go
// function.
//
//export goStep
func goStep(context unsafe.Pointer, step *C.unsay_step) C.unsay_action {
	onStep := (*(*cgo.Handle)(context)).Value().(func(int, float32))
	onStep(int(step.step), float32(step.avoid_p))
	return C.UNSAY_CONTINUE
}
