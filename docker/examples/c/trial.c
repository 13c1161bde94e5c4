/* Reads --x=… and --y=…, or both from the JSON object in HPO_PARAMS, and prints loss=… */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double from_json(const char *key)
{
    const char *json = getenv("HPO_PARAMS");
    const char *found = json ? strstr(json, key) : NULL;
    const char *colon = found ? strchr(found, ':') : NULL;
    return colon ? strtod(colon + 1, NULL) : 0.0;
}

int main(int argc, char **argv)
{
    double x = from_json("\"x\""), y = from_json("\"y\"");
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--x=", 4) == 0)
            x = strtod(argv[i] + 4, NULL);
        if (strncmp(argv[i], "--y=", 4) == 0)
            y = strtod(argv[i] + 4, NULL);
    }
    double a = x * x + y - 11.0, b = x + y * y - 7.0;
    printf("loss=%.9g\n", a * a + b * b);
    return 0;
}
