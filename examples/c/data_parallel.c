/* Trains one patch on the ranks of an MPI job, each with its share of the examples.
 *
 *     mpicc data_parallel.c -o data_parallel $(pkg-config --cflags --libs unsay)
 *     mpirun -np 2 ./data_parallel models/debsum examples.tsv simple 10
 *
 * examples.tsv holds an input and an output a line, with a tab between; the phrase is
 * avoided where an output has it. Rank r takes every line whose number leaves r when
 * divided by the number of ranks. The losses are those that one rank has with all lines in
 * one batch: gradients are means, so each rank's counts as much as the tokens it is a mean
 * over.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unsay.h>

enum { LINE_LIMIT = 1 << 16, MARK_LIMIT = 4096, CHUNK = 1 << 24 };

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, unsay_last_error());
    MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
    return EXIT_FAILURE;
}

/* Replaces gradients and loss by their weighted means over all ranks. */
static unsay_action share(void *context, unsay_gradients_view *view) {
    (void)context;
    double own[2] = {view->weight, view->loss * view->weight}, all[2];
    MPI_Allreduce(own, all, 2, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    float factor = view->is_sum ? 1 : (float)(all[0] > 0 ? view->weight / all[0] : 0);
    for (size_t i = 0; i < view->count; i++) view->values[i] *= factor;
    for (size_t first = 0; first < view->count; first += CHUNK) {
        size_t left = view->count - first;
        MPI_Allreduce(MPI_IN_PLACE, view->values + first,
            (int)(left < CHUNK ? left : CHUNK), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    }
    view->weight = all[0];
    view->loss = all[0] > 0 ? all[1] / all[0] : 0;
    return UNSAY_CONTINUE;
}

/* Adds a line's pair; marks only what the phrase matches. */
static int add(
    unsay_session *session, const unsay_model *model, char *line, const char *phrase) {
    char *tab = strchr(line, '\t');
    if (tab == NULL) return 0;
    *tab = 0;
    line[strcspn(line, "\n")] = 0;
    tab[1 + strcspn(tab + 1, "\n")] = 0;
    int8_t marks[MARK_LIMIT];
    size_t count = 0;
    unsay_example example;
    memset(&example, 0, sizeof example);
    example.input = unsay_text(line);
    example.output = unsay_text(tab + 1);
    if (unsay_mark_phrases(model, &example.output, &phrase, 1, UNSAY_EXTENT_ALL, marks,
            MARK_LIMIT, &count) != UNSAY_OK)
        return fail("mark");
    example.marks = marks;
    example.mark_count = count;
    return unsay_session_add(session, &example, 1) == UNSAY_OK ? 0 : fail("add");
}

int main(int count, char **arguments) {
    MPI_Init(&count, &arguments);
    int rank = 0, ranks = 1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (count != 5) {
        if (rank == 0) fprintf(stderr, "data_parallel MODEL EXAMPLES PHRASE STEPS\n");
        MPI_Finalize();
        return 2;
    }
    unsay_open_options open;
    unsay_open_options_init(&open, sizeof open);
    open.threads = 1;
    unsay_model *model = NULL;
    if (unsay_model_open(arguments[1], &open, &model) != UNSAY_OK)
        return fail(arguments[1]);

    unsay_session_options options;
    unsay_session_options_init(&options, sizeof options);
    options.batch_size = 1 << 20; /* all of a rank's share */
    options.micro_batch_size = 8;
    options.scope = UNSAY_SCOPE_ALL; /* the same on every rank, whatever its share avoids */
    options.on_gradients = share;
    unsay_session *session = NULL;
    if (unsay_session_create(model, &options, &session) != UNSAY_OK) return fail("create");

    FILE *file = fopen(arguments[2], "r");
    if (file == NULL) return perror(arguments[2]), fail("examples");
    static char line[LINE_LIMIT];
    for (int number = 0; fgets(line, sizeof line, file) != NULL; number++) {
        if (number % ranks == rank) add(session, model, line, arguments[3]);
    }
    fclose(file);

    for (int steps = atoi(arguments[4]); steps > 0; steps--) {
        unsay_step step;
        step.struct_size = sizeof step;
        if (unsay_session_step(session, &step) != UNSAY_OK) return fail("step");
        if (rank == 0) printf("step %d: loss %.7f\n", step.step, step.loss);
    }
    unsay_session_close(session);
    unsay_model_close(model);
    MPI_Finalize();
    return EXIT_SUCCESS;
}
