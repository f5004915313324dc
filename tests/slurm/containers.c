/*
 * A SPANK plugin that knows pyxis' container options and does nothing with them.
 *
 * The test cluster has no containers. With this plugin its srun and sbatch accept the options that
 * a real cluster's do, so that an unmodified launcher runs. Inside a step the value of
 * --container-image can be read from TEST_CLUSTER_CONTAINER_IMAGE.
 */
#include <slurm/spank.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

SPANK_PLUGIN(containers, 1);

enum { IMAGE = 1, OTHER };

static char image[4096];

static int seen(int what, const char *value, int remote)
{
    (void)remote;
    if (what == IMAGE && value)
        snprintf(image, sizeof(image), "%s", value);
    return ESPANK_SUCCESS;
}

static struct spank_option options[] = {
    {"container-image", "IMAGE", "accepted, not used", 1, IMAGE, seen},
    {"container-mounts", "SRC:DST", "accepted, not used", 1, OTHER, seen},
    {"container-name", "NAME", "accepted, not used", 1, OTHER, seen},
    {"container-workdir", "PATH", "accepted, not used", 1, OTHER, seen},
    {"container-save", "PATH", "accepted, not used", 1, OTHER, seen},
    {"container-env", "NAMES", "accepted, not used", 1, OTHER, seen},
    {"container-mount-home", NULL, "accepted, not used", 0, OTHER, seen},
    {"no-container-mount-home", NULL, "accepted, not used", 0, OTHER, seen},
    {"container-remap-root", NULL, "accepted, not used", 0, OTHER, seen},
    {"no-container-remap-root", NULL, "accepted, not used", 0, OTHER, seen},
    {"container-writable", NULL, "accepted, not used", 0, OTHER, seen},
    {"container-entrypoint", NULL, "accepted, not used", 0, OTHER, seen},
    {"no-container-entrypoint", NULL, "accepted, not used", 0, OTHER, seen},
};

int slurm_spank_init(spank_t spank, int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (spank_option_register(spank, &options[i]) != ESPANK_SUCCESS)
            slurm_error("containers: cannot register --%s", options[i].name);
    return ESPANK_SUCCESS;
}

int slurm_spank_user_init(spank_t spank, int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    if (spank_remote(spank) == 1 && image[0])
        spank_setenv(spank, "TEST_CLUSTER_CONTAINER_IMAGE", image, 1);
    return ESPANK_SUCCESS;
}
