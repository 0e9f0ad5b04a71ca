/* unsay.h needs nothing before it, and is C99, C++11 and C++20. */
#include <unsay.h>

unsay_sequence header_text(void);
unsay_sequence header_ids(const int32_t *ids, size_t count);

unsay_sequence header_text(void) { return unsay_text("a text"); }
unsay_sequence header_ids(const int32_t *ids, size_t count) {
    return unsay_ids(ids, count);
}
