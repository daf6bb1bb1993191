// Makes a container with testcontainers, which looks for the engine by itself: NAME IMAGE COMMAND...
const { GenericContainer, Wait } = require('testcontainers');
const [name, image, ...command] = process.argv.slice(2);

(async () => {
  await new GenericContainer(image).withName(name).withCommand(command)
    .withWaitStrategy(Wait.forOneShotStartup()).withAutoRemove(false).start();
})().catch((err) => { console.error(err); process.exit(1); });
