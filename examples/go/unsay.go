// The part of the library that this program uses, as Go would have it: handles with Close,
// failures as errors.

package main

/*
#cgo pkg-config: unsay
#include <stdlib.h>
#include <unsay.h>

// Exported by Go, in callback.go.
extern unsay_action goStep(void *context, unsay_step *step);

static unsay_action call_step(void *context, const unsay_step *step) {
    return goStep(context, (unsay_step *)step);
}

static unsay_status run_session(
    unsay_session *session, int32_t max_steps, void *context, unsay_ending *ending) {
    unsay_run_options options;
    unsay_run_options_init(&options, sizeof options);
    options.max_steps = max_steps;
    options.evaluate_every = 1;
    options.on_step = call_step;
    options.context = context;
    return unsay_session_run(session, &options, ending);
}
*/
import "C"

import (
	"fmt"
	"runtime"
	"runtime/cgo"
	"unsafe"
)

// Error is a status and the library's sentence about it.
type Error struct {
	Status  int
	Message string
}

func (e *Error) Error() string {
	return C.GoString(C.unsay_status_name(C.unsay_status(e.Status))) + ": " + e.Message
}

// call runs one call of the library and turns its failure into an error. The sentence belongs
// to the thread, so the goroutine must not move to another one between the two.
func call(body func() C.unsay_status) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if status := body(); status != C.UNSAY_OK {
		return &Error{int(status), C.GoString(C.unsay_last_error())}
	}
	return nil
}

// Output is what a model wrote.
type Output struct {
	Text             string
	IDs              []int32
	LogProbabilities []float32
}

// Model is an opened model; any goroutines may use it at once. Close it.
type Model struct{ handle *C.unsay_model }

// Open opens a model folder.
func Open(folder string) (*Model, error) {
	if found := C.unsay_abi_version(); found != C.UNSAY_ABI_VERSION {
		return nil, fmt.Errorf("libunsay speaks ABI %d, expected %d", found, C.UNSAY_ABI_VERSION)
	}
	path := C.CString(folder)
	defer C.free(unsafe.Pointer(path))
	model := &Model{}
	err := call(func() C.unsay_status { return C.unsay_model_open(path, nil, &model.handle) })
	if err != nil {
		return nil, err
	}
	return model, nil
}

// Close releases the model. What was made from it goes on working.
func (m *Model) Close() {
	C.unsay_model_close(m.handle)
	m.handle = nil
}

// Save writes the model, as patched so far, to a folder.
func (m *Model) Save(folder string) error {
	path := C.CString(folder)
	defer C.free(unsafe.Pointer(path))
	return call(func() C.unsay_status { return C.unsay_model_save(m.handle, path) })
}

// Generate writes an output for an input.
func (m *Model) Generate(input string, maxNewTokens int) (*Output, error) {
	text := C.CString(input)
	defer C.free(unsafe.Pointer(text))
	sequence := C.unsay_text(text)
	var options C.unsay_generate_options
	C.unsay_generate_options_init(&options, C.sizeof_unsay_generate_options)
	options.max_new_tokens = C.int32_t(maxNewTokens)
	var result *C.unsay_result
	err := call(func() C.unsay_status {
		return C.unsay_generate(m.handle, &sequence, 1, &options, &result)
	})
	// A stopped generation has a result, too.
	defer C.unsay_result_free(result)
	if err != nil {
		return nil, err
	}
	best := C.unsay_hypothesis{struct_size: C.sizeof_unsay_hypothesis}
	err = call(func() C.unsay_status { return C.unsay_result_get(result, 0, 0, &best) })
	if err != nil {
		return nil, err
	}
	count := int(best.id_count)
	output := &Output{
		Text:             C.GoStringN(best.text, C.int(best.text_size)),
		IDs:              make([]int32, count),
		LogProbabilities: make([]float32, count),
	}
	copy(output.IDs, unsafe.Slice((*int32)(unsafe.Pointer(best.ids)), count))
	copy(output.LogProbabilities,
		unsafe.Slice((*float32)(unsafe.Pointer(best.log_probabilities)), count))
	return output, nil
}

// cIDs copies ids to where C may keep a pointer to them for the length of a call: Go's rules
// forbid a pointer to Go memory within another struct that is passed to C. Free it.
func cIDs(ids []int32) C.unsay_sequence {
	copied := (*C.int32_t)(C.malloc(C.size_t(4*len(ids) + 4)))
	copy(unsafe.Slice((*int32)(unsafe.Pointer(copied)), len(ids)), ids)
	return C.unsay_ids(copied, C.size_t(len(ids)))
}

// MarkPhrase gives one mark for each id of an output: -1 where the phrase stands, 1 elsewhere.
func (m *Model) MarkPhrase(ids []int32, phrase string) ([]int8, error) {
	output := cIDs(ids)
	defer C.free(unsafe.Pointer(output.ids))
	text := C.CString(phrase)
	defer C.free(unsafe.Pointer(text))
	// One more than needed, so that there is a first one.
	marks := make([]int8, len(ids)+1)
	var count C.size_t
	err := call(func() C.unsay_status {
		return C.unsay_mark_phrases(m.handle, &output, &text, 1, C.UNSAY_EXTENT_ALL,
			(*C.int8_t)(unsafe.Pointer(&marks[0])), C.size_t(len(ids)), &count)
	})
	return marks[:len(ids)], err
}

// Session is a private, trained copy of a model: one call at a time. Close it.
type Session struct{ handle *C.unsay_session }

// NewSession starts a patch with the library's defaults.
func (m *Model) NewSession() (*Session, error) {
	session := &Session{}
	err := call(func() C.unsay_status {
		return C.unsay_session_create(m.handle, nil, &session.handle)
	})
	if err != nil {
		return nil, err
	}
	return session, nil
}

// Close drops the session and whatever was not committed.
func (s *Session) Close() {
	C.unsay_session_close(s.handle)
	s.handle = nil
}

// Add adds an output with one mark for each of its ids.
func (s *Session) Add(input string, ids []int32, marks []int8) error {
	text := C.CString(input)
	defer C.free(unsafe.Pointer(text))
	output := cIDs(ids)
	defer C.free(unsafe.Pointer(output.ids))
	copied := (*C.int8_t)(C.malloc(C.size_t(len(marks) + 1)))
	defer C.free(unsafe.Pointer(copied))
	copy(unsafe.Slice((*int8)(unsafe.Pointer(copied)), len(marks)), marks)
	example := C.unsay_example{
		input: C.unsay_text(text), output: output,
		marks: copied, mark_count: C.size_t(len(marks)),
	}
	return call(func() C.unsay_status { return C.unsay_session_add(s.handle, &example, 1) })
}

// Run trains; onStep sees each step and its probability of the avoided tokens. It tells
// whether the goal was met.
func (s *Session) Run(maxSteps int, onStep func(step int, avoidP float32)) (bool, error) {
	// C passes a pointer to the handle through, and only as long as this call lasts.
	handle := cgo.NewHandle(onStep)
	defer handle.Delete()
	var ending C.unsay_ending
	err := call(func() C.unsay_status {
		return C.run_session(s.handle, C.int32_t(maxSteps), unsafe.Pointer(&handle), &ending)
	})
	return ending == C.UNSAY_ENDING_GOAL, err
}

// Commit makes the trained weights the model's.
func (s *Session) Commit() error {
	return call(func() C.unsay_status { return C.unsay_session_commit(s.handle) })
}
