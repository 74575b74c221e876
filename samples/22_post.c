/* 22_post.c - post JSON, and print what comes back.   Try: build/samples/22_post URL a=b n=2
 * SPDX-License-Identifier: MIT
 *
 * usage: 22_post URL [NAME=VALUE]...
 * A value that is a number goes as one, anything else as a string. Exit status: 0 when the server
 * says 2xx, 1 when not, 2 when it says nothing. */
#include <coir.h>
#include <coir/fetch.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_string(FILE *out, const char *text, size_t len)
{
    fputc('"', out);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static int is_number(const char *text)
{
    char *end;
    strtod(text, &end);
    return *text && !*end && strspn(text, "0123456789.-+eE") == strlen(text);
}

/* {"name": "value", ...} of NAME=VALUE words; for free(3). */
static char *to_json(char *const *words, int n, size_t *len)
{
    char *json = NULL;
    FILE *out = open_memstream(&json, len);
    if (!out)
        return NULL;
    fputc('{', out);
    for (int i = 0; i < n; i++) {
        const char *equals = strchrnul(words[i], '=');
        const char *value = *equals ? equals + 1 : equals;
        fputs(i ? ", " : "", out);
        put_string(out, words[i], (size_t)(equals - words[i]));
        fputs(": ", out);
        if (is_number(value))
            fputs(value, out);
        else
            put_string(out, value, strlen(value));
    }
    fputc('}', out);
    return fclose(out) == 0 ? json : NULL;
}

static int run(int argc, char **argv)
{
    static const char *const headers[] = { "Content-Type: application/json", NULL };
    coir_fetch_options options = { .headers = headers };
    coir_response *answer;
    if (argc < 2) {
        fprintf(stderr, "usage: 22_post URL [NAME=VALUE]...\n");
        return 2;
    }
    char *json = to_json(argv + 2, argc - 2, &options.body_bytes);
    options.body = json;
    if (!json || coir_fetch(argv[1], &options, &answer) < 0) {
        fprintf(stderr, "22_post: %s\n", json ? coir_fetch_error() : strerror(errno));
        free(json);
        return 2;
    }
    int status = coir_response_status(answer);
    char *text = coir_response_text(answer, NULL);
    printf("%d %s\n", status, text ? text : coir_fetch_error());
    free(text);
    coir_response_free(answer);
    free(json);
    return status / 100 != 2;
}

int main(int argc, char **argv)
{
    int status = coir_main(argc, argv, run);
    return status < 0 ? 2 : status;
}
