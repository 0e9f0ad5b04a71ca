/* Gives the public header a target of its own, so that an edit to it rebuilds every user.
 */
#include "unsay.h"
