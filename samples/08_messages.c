/* 08_messages.c - words from one fiber to another.   Try: build/samples/08_messages 500
 * SPDX-License-Identifier: MIT
 *
 * usage: 08_messages [MS]      between two words; default 500
 * The receiver prints each word as it comes, and ends by itself when the channel is closed. */
#include <coir.h>

#include <stdio.h>
#include <stdlib.h>

struct talk {
    coir_chan *words;
    int pause_ms;
};

static void *speak(void *arg)
{
    static const char *const words[] = { "hi", "from", "the", "future" };
    struct talk *t = arg;
    for (int i = 0; i < 4; i++) {
        if (coir_chan_send(t->words, &words[i]) < 0)
            return COIR_FAILED;
        coir_sleep(COIR_MS(t->pause_ms));
    }
    coir_chan_close(t->words);
    return NULL;
}

static int run(int argc, char **argv)
{
    struct talk t = { coir_chan_new(sizeof(char *), 0), argc > 1 ? atoi(argv[1]) : 500 };
    coir_fiber *speaker = t.words ? coir_spawn(speak, &t) : NULL;
    if (!speaker) {
        perror("08_messages");
        return 2;
    }
    const char *word;
    while (coir_chan_recv(t.words, &word) == 0) {
        printf("received '%s'\n", word);
        fflush(stdout);
    }
    int failed = coir_join(speaker, NULL) < 0;
    coir_chan_free(t.words);
    return failed;
}

int main(int argc, char **argv)
{
    int status = coir_main(argc, argv, run);
    return status < 0 ? 2 : status;
}
