"""Word lists that clinical and general documents share."""

WOMEN = (
    "Alice Amara Beatrix Bronwen Carla Celeste Dalia Delphine Edith Esther Fatima Fiona Greta Hanna Helen Ines Ingrid "
    "Jasmine Joan Katya Leila Lorna Mabel Maren Nadia Nora Odette Olga Paula Petra Renata Rosa Sabine Saoirse Tamsin "
    "Thea Ursula Valeria Wanda Yasmin Yvonne Zora"
).split()
MEN = (
    "Abel Adrian Anton Basil Bernard Caleb Conrad Dario Desmond Emil Ezra Felix Finn Gareth Gideon Hamid Hugo Isaac "
    "Ivor Jonas Julian Karim Kofi Lars Leon Magnus Marcel Nabil Niall Omar Oscar Pavel Quentin Rafael Rupert Samir "
    "Stefan Tariq Tobias Ulrich Victor Wilfred Yusuf Zachary"
).split()
SURNAMES = (
    "Abbott Adeyemi Alvarez Ashdown Baptiste Barlow Bergmann Blackwood Cardoso Castle Chandra Cobb Dekker Donnelly "
    "Drummond Eastwick Ellery Falk Farrow Fenn Gallo Garrick Hale Haddad Hollis Ibsen Iyer Jarvis Juarez Keane Kimura "
    "Kowalski Langley Lindqvist Lovell Marsh Mbeki Mercer Novak Nyberg Oakes Okafor Osborne Palmer Pereira Quill "
    "Rahman Redfern Rossi Sandoval Sharma Sinclair Tanaka Thorne Underhill Vance Varga Walcott Weiss Winslow Yardley "
    "Yilmaz Zeller"
).split()
JOBS = (
    "school teacher;bus driver;retired miner;carpenter;nurse;software tester;baker;farmer;librarian;electrician;"
    "florist;warehouse picker;accountant;fisherman;hairdresser;welder;translator;gardener;chef;postal "
    "worker;plumber;museum guide;crane operator;violin teacher;taxi driver;potter;shepherd;tax "
    "clerk;roofer;midwife;beekeeper;railway signaller;glass blower;night porter;dental hygienist;tailor;lighthouse "
    "volunteer;surveyor;piano tuner;quarry foreman"
).split(";")
MONTHS = "January February March April May June July August September October November December".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
NUMBERS = "two three four five six seven eight nine ten eleven twelve".split()
SMALL_TALK = (
    "over the past {number} [days|weeks|months];since [early|mid|late] {month};for about {number} [days|weeks|months];"
    "[on and off|most days] since {month};for the better part of a [month|season|year];"
    "since [a cold|a long flight|moving house|a change of job|the birth of a grandchild] {number} weeks ago"
).split(";")
HOBBIES = (
    "choir practice;walking the dog;playing chess;growing vegetables;mending clocks;swimming lengths;folk "
    "dancing;baking for neighbors;watching birds;restoring an old boat;coaching junior football;painting in "
    "oils;crossword puzzles;keeping bees;hill walking;knitting for the parish;amateur radio;cycling with "
    "friends;volunteering at the food bank;fishing from the pier;repairing bicycles;learning the accordion;stamp "
    "collecting;pottery on Thursdays"
).split(";")
