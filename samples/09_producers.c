/* 09_producers.c - three senders, one channel.   Try: build/samples/09_producers
 * SPDX-License-Identifier: MIT
 *
 * coir_chan_writers(ch, 3): the channel closes when the third of them has closed it. */
#include <coir.h>

#include <stdio.h>
#include <stdlib.h>

struct sender {
    coir_chan *words;
    const char *name, *text[5];
    int pause_ms;
};

static int speak(void *arg)
{
    struct sender *s = arg;
    int failed = 0;
    for (int i = 0; s->text[i] && !failed; i++) {
        failed = coir_chan_send(s->words, &s->text[i]) < 0;
        coir_sleep(COIR_MS(s->pause_ms));
    }
    coir_chan_close(s->words);
    return failed ? -1 : 0;
}

static int run(int argc, char **argv)
{
    coir_chan *words = coir_chan_new(sizeof(char *), 4);
    struct sender senders[] = {
        { words, "a", { "hi", "from", "the", "future" }, 50 },
        { words, "b", { "more", "messages", "for", "you" }, 80 },
        { words, "c", { "and", "then", "some" }, 30 },
    };
    const char *word;
    int received = 0, failed = 0;
    (void)argc, (void)argv;
    if (!words || coir_chan_writers(words, 3) < 0) {
        perror("09_producers");
        return 2;
    }
    coir_scope scope COIR_SCOPE_AUTO = COIR_SCOPE_INIT;
    coir_scope_open(&scope);
    for (int i = 0; i < 3; i++)
        failed |= coir_scope_spawn(&scope, speak, &senders[i]) < 0;
    for (; !failed && coir_chan_recv(words, &word) == 0; received++)
        printf("received '%s'\n", word);
    failed |= coir_scope_wait(&scope) < 0;
    printf("%d words, then the channel was closed\n", received);
    coir_chan_free(words);
    return failed;
}

int main(int argc, char **argv)
{
    int status = coir_main(argc, argv, run);
    return status < 0 ? 2 : status;
}
